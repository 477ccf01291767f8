"""Nearest training images of generated ones, and the share of copies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffusion_demo.images import contact_sheet, split_contact_sheet
from diffusion_demo.training import copies
from diffusion_demo.training.copies import CopyCheck
from tests.training.events import of_type

ROOT = Path(__file__).resolve().parents[2]


def images(count, seed, size=8):
    return torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_a_copy_is_found_with_and_without_flips_and_in_every_block(monkeypatch):
    monkeypatch.setattr(copies, "BLOCK_BYTES", 7 * 4 * 3 * 8 * 8)
    training, held_out = images(30, 0), images(10, 1)
    samples = torch.cat([training[[3, 29]], training[[11]].flip(3)])
    check = CopyCheck(training, held_out, flip=True)
    nearest = check.nearest(samples)
    assert torch.equal(nearest.images, samples) and not nearest.distance.any()
    assert check.share_of_copies(nearest.distance) == 1
    unflipped = CopyCheck(training, held_out, flip=False).nearest(samples).distance
    assert not unflipped[:2].any() and unflipped[2] > 50


def test_new_images_and_faintly_similar_ones_are_no_copies_and_near_copies_are():
    training = images(30, 0)
    near = (training[:4].float() + 10 * torch.randn(4, 3, 8, 8)).clamp(0, 255).to(torch.uint8)
    for held_out in (images(10, 1), images(0, 1)):  # without held-out images: the nearest other training image
        check = CopyCheck(training, held_out, flip=False)
        assert check.typical_distance() == pytest.approx(90, rel=0.15)
        assert check.share_of_copies(check.nearest(images(16, 2)).distance) == 0
        assert check.share_of_copies(check.nearest(torch.cat([near, images(4, 3)])).distance) == 0.5


def test_the_distance_of_one_number_is_exact():
    training, sample = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([[[[0, 0], [0, 6]]]], dtype=torch.uint8)
    assert CopyCheck(training, training[:0], flip=True).nearest(sample).distance.tolist() == [3.0]


def test_a_single_training_image_has_no_other_one():
    check = CopyCheck(images(1, 0), images(0, 0), flip=False)
    assert check.typical_distance() == torch.inf


def test_a_mapped_data_set_is_not_copied_into_memory(tmp_path):
    """Copies count against RLIMIT_DATA, a read-only mapping does not."""
    script = """
import resource
import numpy as np, psutil, torch
from numpy.lib.format import open_memmap
from diffusion_demo.data.dataset import _as_tensor
from diffusion_demo.training.copies import CopyCheck
file = open_memmap("training.npy", "w+", np.uint8, (2500, 3, 256, 256))
file[2000] = 200
file.flush()
del file
images = _as_tensor(open_memmap("training.npy", "r"))
torch.cdist(torch.rand(30, 9), torch.rand(30, 9))
limit = psutil.Process().memory_info().data + images.numel() * 4 // 5
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
nearest = CopyCheck(images, images[:4], flip=False).nearest(torch.full((2, 3, 256, 256), 201, dtype=torch.uint8))
print(*nearest.distance.tolist(), int(nearest.images.min()))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", script]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["1.0", "1.0", "200"]


@pytest.mark.parametrize(("count", "channels"), [(16, 3), (5, 1), (1, 3)])
def test_a_contact_sheet_can_be_split_again(count, channels):
    pixels = images(count, 0)[:, :channels]
    assert torch.equal(split_contact_sheet(contact_sheet(pixels), 8, count), pixels)


def test_a_preview_comes_with_its_nearest_training_images(train, run):
    list(train())
    (preview,) = of_type(run.path, "preview")[-1:]
    assert (run.path / preview["nearest_path"]).is_file() and 0 <= preview["copies"] <= 1
