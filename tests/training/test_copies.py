"""Nearest training images of generated ones, and the share of copies."""

import pytest
import torch

from diffusion_demo.images import contact_sheet, split_contact_sheet
from diffusion_demo.training import copies
from diffusion_demo.training.copies import CopyCheck
from tests.training.events import of_type


def images(count, seed, size=8):
    return torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_a_copy_is_found_with_and_without_flips_and_in_every_block(monkeypatch):
    monkeypatch.setattr(copies, "BLOCK", 7)
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


@pytest.mark.parametrize(("count", "channels"), [(16, 3), (5, 1), (1, 3)])
def test_a_contact_sheet_can_be_split_again(count, channels):
    pixels = images(count, 0)[:, :channels]
    assert torch.equal(split_contact_sheet(contact_sheet(pixels), 8, count), pixels)


def test_a_preview_comes_with_its_nearest_training_images(train, run):
    list(train())
    (preview,) = of_type(run.path, "preview")[-1:]
    assert (run.path / preview["nearest_path"]).is_file() and 0 <= preview["copies"] <= 1
