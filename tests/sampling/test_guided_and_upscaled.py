"""Sampling with a second network: classifier guidance and upsampling."""

import shutil
from dataclasses import replace

import pytest
import torch

from diffusion_demo.data import ImageTensors
from diffusion_demo.diffusion.guidance import classifier_gradient
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import SAMPLERS
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.diffusion.timesteps import spaced_timesteps
from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.nll import measure_bound
from diffusion_demo.images import read_settings, to_uint8
from diffusion_demo.models.checkpoint import (
    Checkpoint,
    load_checkpoint,
    make_scheduler,
    save_checkpoint,
    with_classifier,
)
from diffusion_demo.models.classifier import build_classifier, save_classifier, save_classifier_checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.model_card import model_card
from diffusion_demo.models.unet import as_denoiser, build_unet
from diffusion_demo.sampling.generate import last_step, make_noise, sample, sample_batch, upsample
from diffusion_demo.sampling.image_writer import sample_to_folder
from diffusion_demo.sampling.request import ImageSpec, Request, image_specs
from diffusion_demo.sampling.variations import Variation, mix, vary
from tests.conftest import CLASSES

FEW = Request(num_images=3, sampler="ddim", steps=4, seed=7, precision="fp32", class_index=1)


def with_random_zeros(network):
    """Replace parameters that are initialized to zero by random values."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


@pytest.fixture(scope="module")
def classifier_folder(checkpoint, tmp_path_factory):
    """A classifier with random weights and the model's classes in reverse order."""
    torch.manual_seed(1)
    classifier = with_random_zeros(build_classifier("tiny", 16, 3, CLASSES[::-1]))
    description = CheckpointMetadata(16, 3, 1000, CLASSES[::-1], task="classifier")
    folder = tmp_path_factory.mktemp("classifier") / "classifier-16"
    scheduler = make_scheduler(checkpoint.beta_schedule, checkpoint.diffusion)
    save_classifier_checkpoint(folder, classifier, scheduler, description, model_card(description, 1, None))
    return folder


@pytest.fixture(scope="module")
def guided(checkpoint, classifier_folder):
    return with_classifier(checkpoint, classifier_folder)


@pytest.fixture(scope="module")
def upsampler_folder(checkpoint, tmp_path_factory):
    torch.manual_seed(2)
    unet = with_random_zeros(build_unet("tiny", 32, 3, learns_variance=True, num_classes=0, is_upsampler=True))
    description = CheckpointMetadata(32, 3, 1000, task="upsampler", small_size=16)
    folder = tmp_path_factory.mktemp("upsampler") / "upsampler-32"
    save_checkpoint(
        folder,
        unet,
        make_scheduler(checkpoint.beta_schedule, checkpoint.diffusion),
        description,
        model_card(description, 1, None),
    )
    return folder


@pytest.fixture(scope="module")
def upsampler(upsampler_folder):
    return load_checkpoint(upsampler_folder)


def sample_images(checkpoint, **changes):
    return last_step(sample(checkpoint, replace(FEW, **changes))).xt


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm_solver"])
def test_classifier_guidance_uses_the_class_order_of_the_classifier(guided, sampler):
    request = replace(FEW, sampler=sampler, steps="trailing:4", classifier_scale=3.0)
    chain, noise = (
        guided.diffusion.respaced(spaced_timesteps(1000, "trailing:4")),
        make_noise(guided, image_specs(request, guided.description)),
    )
    highest = max(t for t in range(1000) if guided.diffusion.abar[t] >= 1e-3) if sampler == "ddim" else 999
    labels = torch.full((3,), CLASSES[::-1].index(CLASSES[1]))
    gradient = classifier_gradient(guided.classifier, labels, 3.0, (400, highest))
    eta = {} if sampler == "ddpm" else {"eta": 0.5 if sampler == "dpm_solver" else 0.0}
    condition = {"gradient": gradient, "class_labels": torch.full((3,), 1)}
    steps = SAMPLERS[sampler](as_denoiser(guided.unet, "fp32"), chain, noise(), noise, **eta, **condition)
    with torch.no_grad():
        torch.testing.assert_close(
            last_step(steps).xt, last_step(sample(guided, request)).xt, rtol=0, atol=1e-3
        )  # rows are split across cores, which changes rounding


def test_both_kinds_of_guidance_act_together_and_only_inside_the_interval(guided):
    plain, by_classifier, free = (
        sample_images(guided),
        sample_images(guided, classifier_scale=5.0),
        sample_images(guided, guidance_scale=3.0),
    )
    both = sample_images(guided, classifier_scale=5.0, guidance_scale=3.0)
    for other in (plain, by_classifier, free):
        assert not torch.equal(both, other)
    outside = {
        "classifier_scale": 5.0,
        "guidance_scale": 3.0,
        "guidance_interval": (400, 410),
    }  # none of the four steps lies in it
    torch.testing.assert_close(
        sample_images(guided, **outside), plain, rtol=0, atol=0.01
    )  # x_0 from eps at t = 999 amplifies rounding errors
    usual, noisier, everywhere = (
        sample_images(guided, **outside | {"guidance_interval": interval}, sampler="dpm_solver")
        for interval in (None, (400, 999), (0, 999))
    )
    assert torch.equal(usual, noisier) and not torch.equal(usual, everywhere)


def test_ddim_stays_bounded_under_strong_classifier_guidance_unless_the_interval_is_given(guided):
    images = sample_images(guided, classifier_scale=30.0, steps=10)
    assert images.abs().max() < 10, "at t = 999 the shift of x_0 is 20,000 times the gradient"
    for interval, is_guided in ((None, False), ((400, 990), False), ((400, 999), True), ((999, 999), True)):
        request = replace(FEW, steps=10, classifier_scale=30.0, guidance_interval=interval)
        assert (next(sample(guided, request)).x0.abs().max() > 10) == is_guided


def test_strong_classifier_guidance_raises_the_probability_of_its_class(guided):
    index = CLASSES[::-1].index(CLASSES[1])

    def log_probability(images):
        with torch.no_grad():
            return torch.log_softmax(guided.classifier(images, torch.zeros(len(images), dtype=torch.int64)), 1)[
                :, index
            ].mean()

    always = {"classifier_scale": 50.0, "guidance_interval": (0, 999)}
    assert log_probability(sample_images(guided, **always)) > log_probability(sample_images(guided)) + 0.01


def test_a_classifier_guides_a_model_without_classes(checkpoint, classifier_folder):
    torch.manual_seed(0)
    unet = with_random_zeros(build_unet("tiny", 16, 3, learns_variance=True, num_classes=0))
    plain = replace(checkpoint, unet=unet, description=CheckpointMetadata(16, 3, 1000))
    guided = with_classifier(plain, classifier_folder)
    one, two = (last_step(sample(guided, replace(FEW, class_index=i, classifier_scale=20.0))).xt for i in (0, 1))
    assert not torch.equal(one, two)
    with pytest.raises(BadInput, match="null class"):
        Request(guidance_scale=2.0).check(guided.description)


def test_a_classifier_in_the_model_folder_is_loaded_with_it(random_checkpoint, guided, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(random_checkpoint, folder)
    assert load_checkpoint(folder).classifier is None
    save_classifier(folder / "classifier", guided.classifier)
    assert torch.equal(
        sample_images(load_checkpoint(folder), classifier_scale=3.0), sample_images(guided, classifier_scale=3.0)
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"description": CheckpointMetadata(32, 3, 1000, CLASSES)}, "is for images of 16 pixels"),
        ({"description": CheckpointMetadata(16, 3, 1000, (*CLASSES, "four"))}, "does not have the model's class four"),
    ],
)
def test_a_classifier_of_other_images_or_classes_is_rejected(checkpoint, classifier_folder, changes, words):
    with pytest.raises(BadInput, match=words):
        with_classifier(replace(checkpoint, **changes), classifier_folder)


def test_a_classifier_of_another_schedule_and_a_model_in_its_place_are_rejected(
    checkpoint, classifier_folder, random_checkpoint
):
    shorter = replace(checkpoint, diffusion=checkpoint.diffusion.respaced(list(range(0, 1000, 2))))
    with pytest.raises(BadInput, match="a different noise schedule"):
        with_classifier(shorter, classifier_folder)
    with pytest.raises(BadInput, match="is not a classifier"):
        with_classifier(checkpoint, random_checkpoint)


@pytest.mark.parametrize(
    "changes",
    [
        {"classifier_scale": -1.0},
        {"classifier_scale": float("nan")},
        {"guidance_interval": (10, 5)},
        {"guidance_interval": (0, 1000)},
    ],
)
def test_invalid_guidance_is_rejected(checkpoint, changes):
    with pytest.raises(BadInput):
        replace(FEW, **changes).check(checkpoint.description)


def test_guidance_by_a_missing_classifier_is_rejected(checkpoint):
    with pytest.raises(BadInput, match="has no classifier"):
        sample_images(checkpoint, classifier_scale=1.0)


def test_upsampling_does_not_depend_on_the_batch(checkpoint, upsampler):
    request, all_of = (
        replace(FEW, num_images=4, class_index=None),
        image_specs(replace(FEW, num_images=4), checkpoint.description),
    )
    small = to_uint8(last_step(sample(checkpoint, request)).xt)
    large = to_uint8(last_step(upsample(upsampler, small, request, all_of)).xt)
    assert large.shape == (4, 3, 32, 32) and len({image.numpy().tobytes() for image in large}) == 4
    alone = to_uint8(last_step(upsample(upsampler, small[2:3], request, all_of[2:3])).xt)
    assert (alone[0].int() - large[2].int()).abs().max() <= 4


@pytest.fixture(scope="module")
def class_upsampler(checkpoint):
    """An upsampler of some of the model's classes, and others, in another order; 60 timesteps."""
    torch.manual_seed(3)
    names = ("two", "nine", "one")
    unet = with_random_zeros(build_unet("tiny", 32, 3, learns_variance=True, num_classes=3, is_upsampler=True))
    chain = Diffusion(named_betas("squaredcos_cap_v2", 60), "epsilon", "learned_range")
    return Checkpoint(unet, chain, CheckpointMetadata(32, 3, 60, names, task="upsampler", small_size=16), "any")


def test_a_class_conditional_upsampler_gets_its_own_class_of_the_same_name(checkpoint, class_upsampler):
    received = []
    hook = class_upsampler.unet.register_forward_pre_hook(
        lambda module, inputs, options: received.append(options["class_labels"].tolist()), with_kwargs=True
    )
    small = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    request = replace(FEW, steps=1)
    specs = [ImageSpec(seed, index) for seed, index in enumerate([0, 1, 2, None])]
    try:
        for names in (CLASSES, ()):
            last_step(upsample(class_upsampler, small, request, specs, names))
    finally:
        hook.remove()
    both = [label for labels in received for label in labels]  # in the order of the threads
    assert CLASSES == ("one", "three", "two")
    assert sorted(both[:4]) == [0, 2, 3, 3] and both[4:] == [3] * 4
    one = last_step(upsample(class_upsampler, small[:1], request, specs[:1], CLASSES)).xt
    other = last_step(upsample(class_upsampler, small[:1], request, [ImageSpec(0, 2)], ("a", "b", "one"))).xt
    assert torch.equal(one, other)


def test_both_halves_of_a_guided_batch_enlarge_the_same_small_images(class_upsampler):
    generator = torch.Generator().manual_seed(4)
    small, xt = torch.randn(3, 3, 16, 16, generator=generator), torch.randn(3, 3, 32, 32, generator=generator)
    t, labels = torch.full((3,), 30), torch.tensor([0, 1, 2])
    denoiser = as_denoiser(class_upsampler.unet, "fp32", small)
    with torch.no_grad():
        once = denoiser(xt, t, class_labels=labels)
        twice = denoiser(torch.cat([xt, xt]), torch.cat([t, t]), class_labels=torch.cat([labels, labels]))
    torch.testing.assert_close(twice, torch.cat([once, once]), rtol=0, atol=1e-4)


def test_both_stages_are_checked_before_the_first_image(checkpoint, class_upsampler, tmp_path):
    def write(request, upsampler):
        specs = image_specs(request, checkpoint.description)
        sample_to_folder(checkpoint, "model", request, specs, tmp_path / "out", upscale_with=upsampler)

    for request, upsampler, words in [
        (replace(FEW, steps=61), class_upsampler, "upsampler .* steps must be from 1 to 60"),
        (FEW, checkpoint, "is not an upsampler"),
        (FEW, replace(class_upsampler, description=replace(class_upsampler.description, small_size=8)), "of 8 pixels"),
    ]:
        with pytest.raises(BadInput, match=words):
            write(request, upsampler)
        assert not (tmp_path / "out").exists()
    write(replace(FEW, steps=2, class_index=2, num_images=1), class_upsampler)
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_classifier_is_refused_wherever_a_denoiser_is_needed(classifier_folder):
    classifier, x0, variation = load_checkpoint(classifier_folder), torch.zeros(1, 3, 16, 16), Variation(2, 50.0, 2)
    dataset = ImageTensors(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    uses = {
        "sample": lambda: last_step(sample(classifier, Request(1, steps=2))),
        "vary": lambda: last_step(vary(classifier, x0, variation)),
        "mix": lambda: last_step(mix(classifier, x0, x0, variation)),
        "nll": lambda: measure_bound(classifier, dataset, steps=2),
    }
    for use in uses.values():
        with pytest.raises(BadInput, match=r"^This checkpoint is a classifier and cannot sample\."):
            use()


def test_a_classifier_without_the_class_of_an_image_is_rejected(guided, classifier_folder):
    for names, words in ((("one", "three", "four"), "guide to three"), ((), "guide to no class")):
        other = replace(guided, description=replace(guided.description, class_names=names))
        classifier = build_classifier("tiny", 16, 3, ("one", "two"))
        specs = [ImageSpec(0, 1 if names else None)]
        with pytest.raises(BadInput, match=words):
            next(sample_batch(replace(other, classifier=classifier), replace(FEW, classifier_scale=1.0), specs))


def test_the_upsampler_uses_other_noise_than_the_model(checkpoint, upsampler):
    one = image_specs(replace(FEW, num_images=1), checkpoint.description)
    assert not torch.equal(make_noise(upsampler, one)()[:, :, :16, :16], make_noise(checkpoint, one)())


def test_images_that_do_not_fit_the_upsampler_are_rejected(checkpoint, upsampler):
    one = image_specs(replace(FEW, num_images=1), checkpoint.description)
    for channels, side in ((3, 8), (1, 16), (3, 32)):
        with pytest.raises(BadInput, match="The upsampler takes images of 16 pixels, 3 channels"):
            upsample(upsampler, torch.zeros(1, channels, side, side, dtype=torch.uint8), FEW, one)
    with pytest.raises(BadInput, match="is an upsampler"):
        next(sample(upsampler, Request(num_images=1, steps=2)))
    with pytest.raises(BadInput, match="is not an upsampler"):
        next(sample_batch(checkpoint, FEW, one, torch.zeros(1, 3, 8, 8)))


def test_the_command_guides_upsamples_and_resumes(
    random_checkpoint, classifier_folder, upsampler_folder, command, tmp_path
):
    options = [
        "--classifier",
        classifier_folder,
        "--classifier-scale",
        "2",
        "--guidance-interval",
        "100",
        "900",
        "--upsampler",
        upsampler_folder,
    ]
    arguments = [
        "sample",
        "--checkpoint",
        random_checkpoint,
        "--num-images",
        "2",
        "--steps",
        "3",
        *options,
        "--out",
        "out",
    ]
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "out").iterdir())
    settings = [read_settings(path) for path in files]
    assert [one["upsampler"] for one in settings] == ["upsampler-32"] * 2 and settings[0][
        "classifier"
    ] == "classifier-16"
    assert settings[0]["classifier_scale"] == 2 and settings[0]["guidance_interval"] == [100, 900]
    before = files[1].read_bytes()
    files[0].unlink()
    assert command(*arguments, cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "out").iterdir())) == 2 and files[1].read_bytes() == before
    other = command(*arguments[:-2], "--classifier-scale", "3", "--out", "out", cwd=tmp_path)
    assert other.returncode == 2 and "other settings" in other.stderr
