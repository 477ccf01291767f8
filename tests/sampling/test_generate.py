"""Sampling requests: what each seed determines, and invalid requests."""

import dataclasses
from collections.abc import Generator

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_demo.errors import BadInput
from diffusion_demo.images import read_settings, to_float, to_uint8
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import ORACLES, CheckpointMetadata
from diffusion_demo.models.oracle_models import IMAGES, SPREAD, build_oracle
from diffusion_demo.sampling.generate import SeededNoise, last_step, sample
from diffusion_demo.sampling.image_writer import sample_to_folder
from diffusion_demo.sampling.request import MAX_SEED, Request, class_index, draw_class, image_specs

FEW = Request(num_images=4, steps=4, seed=7, precision="fp32")
DESCRIPTION = CheckpointMetadata(16, 3, 1000, ("one", "three", "two"), guidance=True)


def sample_images(checkpoint, **changes):
    return last_step(sample(checkpoint, dataclasses.replace(FEW, **changes))).xt


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sampler": "ddim"},
        {"sampler": "ddim", "eta": 0.5},
        {"eta": 0.5},
        {"sampler": "ddpm"},
        {"precision": "bf16"},
    ],
)
def test_the_same_request_gives_the_same_images(checkpoint, changes):
    first = sample_images(checkpoint, **changes)
    assert first.shape == (4, 3, 16, 16) and first.dtype == torch.float32 and first.isfinite().all()
    assert torch.equal(first, sample_images(checkpoint, **changes))
    assert (first[0] - first[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    "changes",
    [{"seed": 8}, {"sampler": "ddpm"}, {"steps": 5}, {"eta": 1.0}, {"class_index": 1}, {"guidance_scale": 3.0}],
)
def test_each_setting_changes_the_images(checkpoint, changes):
    base = {"sampler": "ddim"}
    assert not torch.equal(sample_images(checkpoint, **base), sample_images(checkpoint, **base | changes))


@pytest.mark.parametrize(
    "settings", [{}, {"sampler": "ddim"}, {"sampler": "ddpm"}, {"sampler": "ddim", "guidance_scale": 2.0}]
)
def test_an_image_does_not_depend_on_its_batch(checkpoint, settings):
    together = to_uint8(sample_images(checkpoint, seed=1, num_images=9, steps=10, **settings)[8])
    alone = to_uint8(sample_images(checkpoint, seed=9, num_images=1, steps=10, **settings)[0])
    difference = (together.int() - alone.int()).abs()
    assert difference.max() <= 4
    assert (difference <= 1).float().mean() >= 0.999


def test_the_noise_of_a_seed_is_bit_exact_in_any_batch():
    together, alone = (
        SeededNoise(list(range(1, 10)), (3, 16, 16), torch.device("cpu")),
        SeededNoise([9], (3, 16, 16), torch.device("cpu")),
    )
    for _ in range(3):
        assert torch.equal(together()[8], alone()[0])


def test_seeds_and_draws_have_different_noise():
    noise = SeededNoise([0, 1], (3, 16, 16), torch.device("cpu"))
    first, second = noise(), noise()
    assert not torch.equal(first[0], first[1]) and not torch.equal(first, second)


def classes(description=DESCRIPTION, **request):
    return [image.class_index for image in image_specs(Request(**request), description)]


def test_a_class_is_drawn_from_the_seed_alone():
    drawn = classes(num_images=9, seed=1)
    assert drawn[8] == draw_class(9, 3) == classes(num_images=1, seed=9)[0]
    assert drawn == classes(num_images=9, seed=1, steps=3, sampler="ddpm", guidance_scale=2.0)
    assert {draw_class(seed, 3) for seed in range(30)} == {0, 1, 2}


def test_a_requested_class_applies_to_all_images():
    assert classes(num_images=3, class_index=2) == [2, 2, 2]


def test_a_model_without_classes_draws_none():
    assert classes(CheckpointMetadata(16, 3, 1000), num_images=3) == [None, None, None]


def test_guidance_scale_1_is_the_conditional_model_and_0_the_null_class(checkpoint):
    x, y = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 1])
    with torch.no_grad():
        conditional, null = (
            checkpoint.unet(x, torch.tensor([999, 999]), class_labels=label).sample
            for label in (y, torch.tensor([3, 3]))
        )
    assert not torch.allclose(conditional, null, atol=1e-4)
    noise = SeededNoise([7, 8], (3, 16, 16), torch.device("cpu"))()
    with torch.no_grad():
        expected = checkpoint.unet(noise, torch.tensor([999, 999]), class_labels=torch.tensor([3, 3])).sample[:, :3]
    first = next(sample(checkpoint, dataclasses.replace(FEW, num_images=2, class_index=1, guidance_scale=0.0, steps=2)))
    torch.testing.assert_close(
        first.x0, checkpoint.diffusion.p(torch.cat([expected, expected], 1), noise, 999).x0, rtol=1e-3, atol=1e-3
    )


def test_with_guidance_0_the_class_does_not_matter(checkpoint):
    always = {"guidance_scale": 0.0, "guidance_interval": (0, 999)}
    one, two = (sample_images(checkpoint, class_index=i, **always) for i in (0, 1))
    torch.testing.assert_close(one, two)
    assert not torch.equal(sample_images(checkpoint, class_index=0), sample_images(checkpoint, class_index=1))


def test_sampling_can_be_stopped_early(checkpoint):
    steps = sample(checkpoint, FEW)
    first = next(steps)
    assert isinstance(steps, Generator)
    steps.close()
    assert (first.t, first.index, first.total) == (999, 1, 4)


def test_an_invalid_request_is_rejected_before_the_first_step(checkpoint):
    with pytest.raises(BadInput):
        next(sample(checkpoint, dataclasses.replace(FEW, steps=0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_images": 0}, "from 1 to 1000000, not 0"),
        ({"num_images": -3}, "from 1 to 1000000, not -3"),
        ({"sampler": "euler"}, "one of ddpm, ddim, dpm_solver, not 'euler'"),
        ({"steps": 0}, "1 to 1000.*not 0"),
        ({"steps": 1001}, "1 to 1000.*not 1001"),
        ({"eta": -0.1}, "from 0 to 1, not -0.1"),
        ({"eta": 1.5}, "not 1.5"),
        ({"eta": float("nan")}, "not nan"),
        ({"seed": -1}, "not -1"),
        ({"seed": MAX_SEED + 1}, f"not {MAX_SEED + 1}"),
        ({"guidance_scale": -1.0}, "0 to 100, not -1"),
        ({"guidance_scale": 101.0}, "not 101"),
        ({"guidance_scale": float("inf")}, "not inf"),
        ({"precision": "fp8"}, "auto, fp32, bf16, not 'fp8'"),
        ({"class_index": 3}, "no class 3.*one, three, two"),
        ({"class_index": -1}, "no class -1"),
    ],
)
def test_unsupported_settings_are_rejected_with_their_value(changes, message):
    with pytest.raises(BadInput, match=message) as caught:
        Request(**changes).check(DESCRIPTION)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_the_limits_of_every_range_are_allowed():
    Request(
        num_images=1, steps=1000, eta=1.0, seed=MAX_SEED, class_index=2, guidance_scale=100.0, precision="bf16"
    ).check(DESCRIPTION)
    Request(steps=1, eta=0.0, seed=0, guidance_scale=0.0).check(DESCRIPTION)


def test_a_model_without_a_null_class_refuses_guidance():
    with pytest.raises(BadInput, match="null class"):
        Request(guidance_scale=2.0).check(CheckpointMetadata(16, 3, 1000, ("a", "b"), guidance=False))


def test_a_model_without_classes_refuses_a_class():
    with pytest.raises(BadInput, match="no classes"):
        Request(class_index=0).check(CheckpointMetadata(16, 3, 1000))


@pytest.mark.parametrize(("name", "index"), [("one", 0), ("three", 1), ("two", 2), ("0", 0), ("2", 2)])
def test_a_class_is_found_by_name_or_number(name, index):
    assert class_index(name, DESCRIPTION) == index


@pytest.mark.parametrize("name", ["3", "four", "", "-1", "One", "²"])
def test_an_unknown_class_is_rejected_with_the_known_ones(name):
    with pytest.raises(BadInput, match="one, three, two"):
        class_index(name, DESCRIPTION)


def test_a_class_whose_name_is_a_number_is_found_by_name():
    assert class_index("7", CheckpointMetadata(16, 3, 1000, ("3", "7"))) == 1


def test_the_settings_in_a_file_reproduce_its_image(checkpoint, tmp_path):
    request = dataclasses.replace(FEW, num_images=2, sampler="ddim", eta=0.5)
    paths = sample_to_folder(checkpoint, "random", request, image_specs(request, checkpoint.description), tmp_path)
    settings = read_settings(paths[1])
    again = Request(
        seed=settings["seed"],
        num_images=settings["num_images"],
        class_index=class_index(settings["class"], checkpoint.description),
        **{name: settings[name] for name in ("sampler", "steps", "eta", "guidance_scale", "precision")},
    )
    (path,) = sample_to_folder(
        checkpoint, settings["checkpoint"], again, image_specs(again, checkpoint.description), tmp_path / "again"
    )
    assert path.name == paths[1].name and path.read_bytes() == paths[1].read_bytes()


def test_a_class_is_found_by_title_and_errors_list_titles():
    titled = CheckpointMetadata(16, 3, 1000, ("people-body", "animals"), titles={"people-body": "people"})
    assert class_index("people", titled) == class_index("people-body", titled) == 0
    with pytest.raises(BadInput, match="Choose one of people, animals,"):
        class_index("plants", titled)


def oracle_images():
    return torch.stack(
        [torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in sorted(IMAGES.glob("seed_*.png"))]
    )


def test_the_memorizing_oracle_samples_only_its_sixteen_images():
    memory = load_checkpoint("oracle-memory")
    made = to_uint8(last_step(sample(memory, Request(num_images=24, steps=50, precision="fp32"))).xt)
    distances = (made[:, None].int() - oracle_images()[None].int()).abs().flatten(2).amax(2)
    assert distances.min(dim=1).values.max() <= 1
    assert len(distances.argmin(dim=1).unique()) > 5


@pytest.mark.parametrize(
    ("name", "error_range"),
    [("oracle-mixture", (0.05, 0.15)), ("oracle-gaussian", (0.1, 2)), ("oracle-pixels", (0.2, 2))],
)
def test_other_oracles_sample_none_of_the_sixteen_images(name, error_range):
    made = last_step(sample(load_checkpoint(name), Request(num_images=4, steps=20, precision="fp32"))).xt
    errors = ((made[:, None] - to_float(oracle_images())[None]) ** 2).flatten(2).mean(2).sqrt().min(1).values
    assert error_range[0] < float(errors.min()) and float(errors.max()) < error_range[1], errors


def test_the_gaussian_oracle_has_the_mean_and_covariance_of_the_sixteen_images():
    oracle, images = build_oracle("oracle-gaussian"), to_float(oracle_images()).double().flatten(1)
    a, mean = oracle.diffusion.abar[500], images.mean(0)
    covariance = torch.cov(images.T, correction=0) + SPREAD * torch.eye(len(mean), dtype=torch.float64)
    x = torch.randn(len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = a * covariance + (1 - a) * torch.eye(len(mean), dtype=torch.float64)
    score = -torch.linalg.solve(noisy, x - a.sqrt() * mean)
    (eps,) = oracle.network(x.reshape(1, 3, 32, 32), torch.tensor([500]))
    torch.testing.assert_close(eps.flatten(), -(1 - a).sqrt() * score)


def test_oracles_are_described_and_called_by_name_alone():
    for name in ORACLES:
        assert load_metadata(name).image_size == 32 and load_metadata(name).class_names == ()
    with pytest.raises(BadInput, match="oracle-magic"):
        load_metadata("oracle-magic")


def test_a_network_that_returns_nan_is_reported_and_leaves_no_folder(random_checkpoint, tmp_path):
    broken = load_checkpoint(random_checkpoint)
    torch.nn.init.constant_(broken.unet.get_parameter("conv_out.bias"), float("nan"))
    with pytest.raises(BadInput, match=r"NaN or infinite\)\. Use --precision fp32 or another checkpoint\.$"):
        sample_to_folder(broken, "broken", FEW, image_specs(FEW, broken.description), tmp_path / "new" / "out")
    assert not (tmp_path / "out").exists()
