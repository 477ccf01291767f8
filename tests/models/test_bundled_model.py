"""The bundled models: what the page and the README promise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline
from PIL import Image

from diffusion_demo.images import read_settings, to_uint8
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.sampling.generate import last_step, sample, upsample
from diffusion_demo.sampling.request import Request, image_specs
from diffusion_demo.ui.preview.showcase import THUMBNAILS
from diffusion_demo.ui.server import model_list
from scripts.avatars import STYLES
from tests.conftest import ROOT

AVATARS, UPSAMPLER = (ROOT / "checkpoints" / name for name in ("avatars-32", "avatars-64"))


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(AVATARS)


def test_it_is_small(checkpoint):
    assert sum(p.numel() for p in checkpoint.unet.parameters()) <= 5_000_000
    assert all(path.stat().st_size <= 10_000_000 for path in AVATARS.rglob("*"))
    assert {path.suffix for path in AVATARS.rglob("*") if path.is_file()} == {".json", ".md", ".png", ".safetensors"}


def test_it_is_a_class_conditional_cosine_model_with_a_null_class(checkpoint):
    metadata = checkpoint.description
    assert (metadata.image_size, metadata.channels, len(checkpoint.diffusion)) == (32, 3, 1000)
    assert len(metadata.class_names) == 10 and metadata.guidance
    assert checkpoint.unet.config.num_class_embeds == len(metadata.class_names) + 1
    assert (checkpoint.beta_schedule, checkpoint.diffusion.variance_type) == ("squaredcos_cap_v2", "learned_range")


def test_stock_diffusers_loads_it_with_the_same_outputs(checkpoint):
    pipeline = DDPMPipeline.from_pretrained(AVATARS)
    x, t, y = (
        torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 10, 500, 999]),
        torch.tensor([0, 3, 8, 9]),
    )
    with torch.no_grad():
        ours, theirs = checkpoint.unet(x, t, class_labels=y).sample, pipeline.unet(x, t, class_labels=y).sample
    assert ours.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5 * float(ours.abs().max()), rtol=1e-5)


def test_sampling_is_reproducible_and_independent_of_the_batch(command, tmp_path):
    def sample(out, *arguments):
        done = command(
            "sample",
            "--checkpoint",
            AVATARS,
            "--precision",
            "fp32",
            "--steps",
            10,
            "--out",
            out,
            *arguments,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return {path.name: path for path in (tmp_path / out).iterdir()}

    first = sample("first", "--num-images", 9, "--seed", 7)
    assert sorted(first) == [f"seed_{seed:08d}.png" for seed in range(7, 16)]
    again = sample("again", "--num-images", 9, "--seed", 7)
    assert all(first[name].read_bytes() == again[name].read_bytes() for name in first)
    name = "seed_00000009.png"
    alone = sample("alone", "--num-images", 1, "--seed", 9)[name]
    assert read_settings(alone) == read_settings(first[name])
    difference = np.abs(np.asarray(Image.open(alone), int) - np.asarray(Image.open(first[name]), int))
    assert (difference <= 1).mean() >= 0.999 and difference.max() <= 4


def test_the_showcase_was_sampled_with_these_weights(command, tmp_path):
    shown = AVATARS / "showcase" / "seed_00000003.png"
    settings = read_settings(shown)
    options = [
        "--sampler",
        settings["sampler"],
        "--steps",
        settings["steps"],
        "--eta",
        settings.get("eta", 0),
        "--guidance-scale",
        settings["guidance_scale"],
        "--guidance-interval",
        *settings.get("guidance_interval", (0, 999)),
        "--precision",
        "fp32",
    ]
    done = command(
        "sample", "--checkpoint", AVATARS, "--num-images", 1, "--seed", 3, *options, "--out", "one", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    difference = np.abs(np.asarray(Image.open(tmp_path / "one" / shown.name), int) - np.asarray(Image.open(shown), int))
    assert (difference <= 4).mean() >= 0.99


def test_the_avatars_are_the_pages_default_and_have_a_thumbnail_of_each_class(checkpoint):
    assert next(iter(model_list.model_folders())) == AVATARS.name
    names = checkpoint.description.class_names
    thumbnails = {path.stem: Image.open(path) for path in (AVATARS / THUMBNAILS).iterdir()}
    assert set(thumbnails) == set(names) == set(STYLES)
    assert {thumbnail.size for thumbnail in thumbnails.values()} == {(32, 32)}


def test_its_classifier_has_the_same_classes_and_changes_samples(checkpoint):
    classifier = checkpoint.classifier
    assert classifier is not None and tuple(classifier.config.class_names) == checkpoint.description.class_names
    assert sum(p.numel() for p in classifier.parameters()) < 2_000_000
    request = Request(num_images=2, steps=3, class_index=6, precision="fp32")
    plain, guided = (last_step(sample(checkpoint, replace(request, classifier_scale=scale))).xt for scale in (0.0, 4.0))
    assert guided.isfinite().all() and (guided - plain).abs().max() > 0.05


def test_an_upsampler_of_at_most_two_million_parameters_keeps_the_image(checkpoint):
    upsampler = load_checkpoint(UPSAMPLER)
    assert sum(p.numel() for p in upsampler.unet.parameters()) <= 2_000_000
    assert all(path.stat().st_size <= 10_000_000 for path in UPSAMPLER.rglob("*"))
    request = Request(num_images=2, steps=8, seed=3, precision="fp32")
    specs = image_specs(request, checkpoint.description)
    small = to_uint8(last_step(sample(checkpoint, request)).xt)
    large = to_uint8(last_step(upsample(upsampler, small, request, specs)).xt)
    assert large.shape == (2, 3, 64, 64)
    shrunk = torch.nn.functional.avg_pool2d(large.float(), 2)
    assert (shrunk - small.float()).abs().mean() < 12, "of 255: the enlarged image must keep the small one"


@pytest.mark.parametrize("steps", [3, 12, 25])
def test_ancestral_sampling_in_few_steps_stays_in_range(checkpoint, steps):
    """A learned variance that leaves its range makes x_t explode; the first final weights did."""
    request = Request(num_images=4, sampler="ddpm", steps=steps, seed=0, precision="fp32")
    assert max(float(step.xt.abs().max()) for step in sample(checkpoint, request)) < 6
