"""Every path runs on a second device that refuses tensors of the first, with the same values, and few waits."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from diffusion_demo.cli import main
from diffusion_demo.data import ImageTensors
from diffusion_demo.diffusion.samplers import SAMPLERS
from diffusion_demo.evaluation.feature_classifier import extract_features, load_feature_classifier
from diffusion_demo.evaluation.nll import measure_bound
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.classifier import build_classifier
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.unet import as_denoiser, build_unet
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.sampling.generate import sample, upsample
from diffusion_demo.sampling.request import Request, image_specs
from diffusion_demo.sampling.variations import Variation, mix, vary
from diffusion_demo.ui.inspect.lessons import frame, words
from diffusion_demo.ui.inspect.lessons.scene import load_scene
from tests.conftest import CLASSES
from tests.on_device.device import OTHER, MixedDevices, counted

FEW = Request(num_images=2, steps=4, eta=0.5, seed=7, precision="fp32")
GUIDANCE = {"guidance_scale": 2.0, "classifier_scale": 1.0, "guidance_interval": (0, 900)}


def with_random_zeros(network):
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


def on_device(network: nn.Module):
    return network.to(OTHER).eval()


@pytest.fixture(scope="module")
def on_cpu(random_checkpoint):
    """The random model with a random classifier."""
    torch.manual_seed(1)
    classifier = with_random_zeros(build_classifier("tiny", 16, 3, CLASSES[::-1]))
    return replace(load_checkpoint(random_checkpoint), classifier=classifier)


@pytest.fixture(scope="module")
def on_other(on_cpu, random_checkpoint):
    classifier = build_classifier("tiny", 16, 3, CLASSES[::-1])
    classifier.load_state_dict(on_cpu.classifier.state_dict())
    return replace(load_checkpoint(random_checkpoint, OTHER), classifier=on_device(classifier))


@pytest.fixture(scope="module", params=[(), ("two", "nine", "one")], ids=["no classes", "classes"])
def upsamplers(request, on_cpu):
    """An upsampler on the CPU, and the same one on the other device."""
    torch.manual_seed(2)
    shape = {"learns_variance": True, "num_classes": len(request.param), "is_upsampler": True}
    network, copy = (with_random_zeros(build_unet("tiny", 32, 3, **shape)) for _ in range(2))
    copy.load_state_dict(network.state_dict())
    description = CheckpointMetadata(32, 3, 1000, request.param, task="upsampler", small_size=16)
    upsampler = Checkpoint(network, on_cpu.diffusion, description, "any")
    return upsampler, replace(upsampler, unet=on_device(copy))


def assert_equal_steps(ours, theirs):
    """Assert that the steps on the other device stay there and have the values of those on the CPU."""
    for step, other in zip(ours, theirs, strict=True):
        assert other.xt.device == other.x0.device == OTHER and step.xt.device.type == "cpu"
        torch.testing.assert_close(other.xt.cpu(), step.xt, rtol=1e-3, atol=1e-3)


def test_the_devices_refuse_to_mix_as_a_gpu_does():
    ours, theirs = torch.ones(2, 3), torch.ones(2, 3).to(OTHER)
    for mixed in (
        lambda: ours + theirs,
        lambda: theirs.add_(ours),
        lambda: torch.cat([theirs, ours]),
        lambda: nn.functional.linear(theirs, ours),
        lambda: torch.where(ours > 0, theirs, theirs),
        lambda: ours[theirs.long()],
        lambda: torch.stack([ours[0], theirs[0]]),
    ):
        with pytest.raises(MixedDevices):
            mixed()
    with pytest.raises(TypeError, match="numpy"):
        theirs.numpy()
    assert (theirs * torch.tensor(2.0)).device == OTHER, "a CPU tensor without axes is a number"
    assert theirs[torch.tensor([0, 1])].device == OTHER, "a GPU takes indices from the CPU"
    assert torch.zeros(3, device=OTHER).device == torch.full_like(theirs, 2).device == OTHER
    assert torch.arange(3, device=OTHER).tolist() == [0, 1, 2] and len(torch.linspace(0, 1, 5, device=OTHER)) == 5


def test_the_device_has_no_float64_and_autocasts_to_bf16():
    with pytest.raises(TypeError, match="float64"):
        torch.ones(2, dtype=torch.float64).to(OTHER)
    a = torch.ones(2, 2).to(OTHER)
    assert (a @ a).dtype == (a * 2.5).dtype == torch.float32
    with torch.autocast(OTHER.type, torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16 and (a @ a).softmax(1).dtype == torch.float32


def test_copies_and_synchronizations_are_counted():
    with counted() as counts:
        theirs = torch.ones(2, 3).to(OTHER, non_blocking=True)
        theirs = theirs + 1
    assert (counts.copies, counts.synchronizations) == (["cpu to other"], [])
    for waits, copies in [
        (lambda: float(theirs.sum()), 0),
        (lambda: theirs.tolist(), 1),
        (lambda: torch.tensor([1.0], device=OTHER), 1),
        (lambda: theirs[theirs > 0], 0),
        (lambda: theirs.nonzero(), 0),
        (lambda: theirs[torch.tensor([0])], 1),
        (lambda: bool(theirs.isfinite().all()), 0),
        (lambda: torch.equal(theirs, theirs), 0),
    ]:
        with counted() as counts:
            waits()
        assert len(counts.synchronizations) == 1 and len(counts.copies) == copies
    with counted() as counts:
        torch.ones(3).sum().item()
    assert not counts.copies and not counts.synchronizations


def test_sampling_in_bf16(on_cpu, on_other):
    xt = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    t, labels = torch.tensor([10, 900]), torch.tensor([0, 2])
    exact = as_denoiser(on_cpu.unet, "fp32")(xt, t, labels)
    output = as_denoiser(on_other.unet, "bf16")(xt.to(OTHER), t.to(OTHER), labels.to(OTHER))
    assert output.dtype == torch.float32 and 1e-4 < (output.cpu() - exact).abs().mean() / exact.std() < 0.02
    *_, last = sample(on_other, replace(FEW, precision="bf16", guidance_scale=2.0))
    assert last.xt.device == OTHER and last.xt.dtype == torch.float32


@pytest.mark.parametrize("names", [[], ["guidance_scale"], ["classifier_scale"], [*GUIDANCE]], ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampling_and_guidance(on_cpu, on_other, sampler, names):
    request = replace(FEW, sampler=sampler, **{name: GUIDANCE[name] for name in names})
    assert_equal_steps(sample(on_cpu, request), sample(on_other, request))


def test_upscaling(upsamplers):
    upsampler, other = upsamplers
    small = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    specs = image_specs(replace(FEW, class_index=None), CheckpointMetadata(16, 3, 1000, CLASSES))
    assert_equal_steps(*(upsample(each, small, FEW, specs, CLASSES) for each in (upsampler, other)))


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_variations_and_mixtures(on_cpu, on_other, guidance_scale):
    variation = Variation(2, steps=3, class_index=1, guidance_scale=guidance_scale, precision="fp32")
    a, b = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert_equal_steps(*(vary(checkpoint, a, variation) for checkpoint in (on_cpu, on_other)))
    assert_equal_steps(*(mix(checkpoint, a, b, variation) for checkpoint in (on_cpu, on_other)))


def test_the_bound(on_cpu, on_other):
    images = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    dataset = ImageTensors(images, torch.tensor([0, 2, 3]))
    ours, theirs = (measure_bound(checkpoint, dataset, steps=5) for checkpoint in (on_cpu, on_other))
    torch.testing.assert_close(theirs.bits, ours.bits, rtol=1e-3, atol=1e-3)
    assert theirs.prior.device.type == theirs.x0_mse.device.type == "cpu"


def test_the_features_of_evaluation():
    images = torch.randint(256, (3, 1, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    ours, theirs = (extract_features(images, load_feature_classifier(device)) for device in ("cpu", OTHER))
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


def test_the_commands_sample_and_evaluate(random_checkpoint, digits, tmp_path, monkeypatch):
    """The whole commands, with this device as the best one of the machine."""
    monkeypatch.setattr("diffusion_demo.runtime.device.best_device", lambda: OTHER)
    common = ["--checkpoint", str(random_checkpoint), "--steps", "2"]
    assert main(["sample", *common, "--num-images", "2", "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    metrics = ["--metrics", "nll,fd,sfd,is,pr,nn", "--num-images", "20", "--work", str(tmp_path / "work"), "--json"]
    assert main(["evaluate", *common, "--data", str(digits), *metrics]) == 0


@pytest.mark.parametrize("lesson", words.LESSONS)
def test_the_lessons_of_the_page(on_other, lesson):
    first, second = sorted((CHECKPOINTS / "avatars-32" / "showcase").glob("seed_*.png"))[:2]
    assert f'id="lesson-{lesson}"' in frame.show(lesson, load_scene(first, second, 7, 0.01, on_other))


@pytest.mark.parametrize("settings", [{}, {"guidance_scale": 2.0}, {"classifier_scale": 1.0}], ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_waits_of_one_sampling_step(on_other, sampler, settings):
    """One wait, for whether the output is finite."""
    steps = sample(on_other, replace(FEW, sampler=sampler, steps=6, **settings))
    next(steps)
    next(steps)
    with counted() as counts:
        next(steps)
    assert len(counts.synchronizations) == 1, counts
    assert len(counts.copies) <= (22 if "classifier_scale" in settings else 15), counts
