"""Seeds of the noise: every seed and every stage has noise of its own."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.generate import SeededNoise, make_noise
from diffusion_demo.sampling.request import MAX_SEED, Request, image_specs
from diffusion_demo.sampling.seeds import generator_for


def noise(seed, stage=""):
    return torch.randn(64, generator=generator_for(seed, stage))


@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**32 - 1])
def test_small_seeds_without_a_stage_are_those_of_torch(seed):
    assert torch.equal(noise(seed), torch.randn(64, generator=torch.Generator().manual_seed(seed)))


def test_seeds_that_torch_takes_for_the_same_and_all_stages_have_noise_of_their_own():
    seeds = [0, 7, 2**32, 2**32 + 7, 2**33, 2**47, MAX_SEED, MAX_SEED + 15, 2**49, 2**70]
    drawn = {(seed, stage): noise(seed, stage) for seed in seeds for stage in ("", "upsample", "vary")}
    for one, other in combinations(drawn, 2):
        assert not torch.equal(drawn[one], drawn[other]), (one, other)
    assert torch.equal(noise(2**40, "vary"), noise(2**40, "vary"))


def test_the_second_stage_and_variations_draw_other_noise_than_the_model(checkpoint):
    specs = image_specs(Request(num_images=2, seed=7), checkpoint.description)
    upsampler = CheckpointMetadata(16, 3, 1000, task="upsampler")  # of the same size, so that noises can be compared
    first, varied = make_noise(checkpoint, specs)(), make_noise(checkpoint, specs, "vary")()
    second = make_noise(replace(checkpoint, description=upsampler), specs)()
    for one, other in combinations((first, varied, second), 2):
        assert one.shape == other.shape and not torch.equal(one, other)
        assert abs(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]) < 0.1


def test_each_row_has_the_noise_of_its_seed():
    rows = SeededNoise([3, 2**32 + 3], (3, 4, 4), torch.device("cpu"), "vary")()
    assert not torch.equal(rows[0], rows[1])
    assert torch.equal(rows[1:], SeededNoise([2**32 + 3], (3, 4, 4), torch.device("cpu"), "vary")())
