"""Training of noisy classifiers and upsamplers with the real command."""

import json
import math

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from diffusion_demo import data
from diffusion_demo.errors import BadInput
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import has_classifier
from diffusion_demo.models.openai.presets import build_paper_network
from diffusion_demo.sampling.generate import sample
from diffusion_demo.sampling.request import Request
from diffusion_demo.training.batches import Batch, random_crop
from diffusion_demo.training.config import TrainConfig, config_with_inherited
from diffusion_demo.training.tasks import Upsampling
from tests.training.events import latest_checkpoint, of_type, unet_config

SHORT = ["--num-train-timesteps", "100", "--save-every", "1000", "--sample-every", "1000"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def classifier_run(folder, digits, command, tiny):
    options = ["--learning-rate", "2e-3", "--ema-decays", "0.9", "--max-steps", "150"]
    done = command(
        "train", "--data", digits, "--run", "classifier", "--task", "classifier", *tiny, *SHORT, *options, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "classifier"


@pytest.fixture(scope="module")
def upsampler_run(folder, digits, command, tiny):
    options = ["--small-noise", "0.1", "--max-steps", "6"]
    done = command(
        "train", "--data", digits, "--run", "upsampler", "--task", "upsampler", *tiny, *SHORT, *options, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "upsampler"


def test_a_classifier_learns_to_name_digits_better_where_there_is_less_noise(classifier_run, digits):
    losses = [event["loss"] for event in of_type(classifier_run, "step")]
    assert losses[0] == pytest.approx(math.log(3), abs=0.5) and sum(losses[-8:]) / 8 < 0.9 * math.log(3)
    held_out = of_type(classifier_run, "held_out")[-1]
    assert held_out["error"] < 0.6 and len(held_out["bands"]) == 10
    checkpoint = load_checkpoint(latest_checkpoint(classifier_run))
    dataset = data.load(data.scan(digits), 16, 1, held_out=False)
    x0, labels = to_float(dataset.images).repeat(4, 1, 1, 1), dataset.labels.repeat(4)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        xts = {t: checkpoint.diffusion.q_sample(x0, t, noise) for t in (5, 95)}
        right = [
            float((checkpoint.unet(xt, checkpoint.diffusion.model_timesteps(t, xt)).argmax(1) == labels).float().mean())
            for t, xt in xts.items()
        ]
    assert right[0] > right[1] + 0.1 and right[0] > 0.6


def test_a_classifier_is_saved_with_its_noise_classes_and_card_and_makes_no_previews(classifier_run):
    latest = latest_checkpoint(classifier_run)
    assert (
        has_classifier(latest)
        and load_metadata(latest).task == "classifier"
        and load_metadata(latest).class_names == ("one", "three", "two")
    )
    assert not (latest / "unet").exists() and not of_type(classifier_run, "preview")
    assert json.loads((latest / "scheduler" / "scheduler_config.json").read_text())["num_train_timesteps"] == 100
    assert "pipeline_tag: image-classification" in (latest / "README.md").read_text(encoding="utf-8")
    checkpoint = load_checkpoint(latest)
    with torch.no_grad():
        assert checkpoint.unet(torch.zeros(2, 1, 16, 16), torch.tensor([0, 99])).shape == (2, 3)


def test_a_classifier_is_refused_as_a_model_to_sample_from(classifier_run):
    with pytest.raises(BadInput, match="cannot sample"):
        next(sample(load_checkpoint(latest_checkpoint(classifier_run)), Request(num_images=1, steps=2)))


@pytest.mark.parametrize("task", ["classifier", "upsampler"])
def test_a_run_that_was_cut_in_two_ends_in_the_same_weights(task, digits, command, tiny, tmp_path):
    base = ["train", "--data", digits, "--task", task, *tiny, *SHORT]
    for arguments in (["--run", "whole", "--max-steps", "6"], ["--run", "cut", "--max-steps", "3"]):
        assert command(*base, *arguments, cwd=tmp_path).returncode == 0
    assert command("train", "--run", "cut", "--resume", "--max-steps", "6", cwd=tmp_path).returncode == 0
    whole, cut = (
        load_file(latest_checkpoint(tmp_path / name) / "state" / "weights.safetensors") for name in ("whole", "cut")
    )
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_classifier_begins_with_a_diffusion_models_downward_half(trained_checkpoint, digits, command, folder):
    options = [
        "--init-from",
        trained_checkpoint,
        "--max-steps",
        "1",
        "--learning-rate",
        "1e-8",
        "--precision",
        "fp32",
        "--batch-size",
        "4",
    ]
    done = command("train", "--data", digits, "--run", "begun", "--task", "classifier", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    latest = latest_checkpoint(folder / "begun")
    ours, theirs = load_checkpoint(latest).unet.state_dict(), load_checkpoint(trained_checkpoint).unet.state_dict()
    shared = [name for name in ours if name in theirs]
    assert len(shared) > 50 and max(float((ours[name] - theirs[name]).abs().max()) for name in shared) < 1e-6
    assert (
        load_metadata(latest).origin.startswith("the downward half of ") and len(load_metadata(latest).class_names) == 3
    )


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("classifier", ["--gradient-checkpointing"], "--gradient-checkpointing"),
        ("painter", [], "must be one of diffusion, classifier, upsampler"),
        ("upsampler", ["--small-noise", "2"], "Small noise must be from 0 to 1"),
    ],
)
def test_what_a_task_cannot_do_is_said_in_a_sentence(task, options, words, digits, command, tiny, tmp_path):
    done = command(
        "train", "--data", digits, "--run", "run", "--task", task, *tiny, *options, "--max-steps", "1", cwd=tmp_path
    )
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_classifier_needs_two_classes(digits, command, tiny, tmp_path):
    done = command(
        "train",
        "--data",
        digits / "one",
        "--run",
        "run",
        "--task",
        "classifier",
        *tiny,
        "--max-steps",
        "1",
        cwd=tmp_path,
    )
    assert done.returncode == 2 and "two classes or more" in done.stderr and not (tmp_path / "run").exists()


def test_a_model_of_another_task_is_refused_to_go_on_from(classifier_run, upsampler_run):
    for run, task in (
        (classifier_run, "diffusion"),
        (classifier_run, "upsampler"),
        (upsampler_run, "diffusion"),
        (upsampler_run, "classifier"),
    ):
        with pytest.raises(BadInput, match="was trained for the task"):
            config_with_inherited({"data": "images", "task": task, "init_from": str(latest_checkpoint(run))})


def test_an_upsampler_shows_small_made_and_real_images_and_says_what_it_takes(upsampler_run):
    (preview,) = of_type(upsampler_run, "preview")
    sheet = Image.open(upsampler_run / preview["path"])
    assert sheet.size == (6 * 16, 4 * 16) or sheet.size[0] == 6 * 16, "three cells for each image, two images in a row"
    latest = latest_checkpoint(upsampler_run)
    description = load_metadata(latest)
    assert (description.task, description.image_size, description.small_size, description.class_names) == (
        "upsampler",
        16,
        8,
        (),
    )
    assert unet_config(load_checkpoint(latest))["in_channels"] == 2


def test_an_upsampler_is_shown_the_mean_of_each_four_pixels_after_the_noise(upsampler_run, checkpoint):
    start = load_checkpoint(latest_checkpoint(upsampler_run))
    x0 = torch.randn(2, 1, 16, 16)
    batch = Batch(x0, torch.zeros(2), torch.tensor([1, 2]), torch.ones(2), torch.randn_like(x0))
    xt = torch.randn_like(x0)
    seen = Upsampling(start, TrainConfig(data="images", task="upsampler", small_noise=0.5))._network_input(
        xt, batch, start.unet.eval()
    )
    means = x0.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
    assert torch.equal(seen[:, :1], xt)
    torch.testing.assert_close(seen[:, 1:], F.interpolate(means, (16, 16), mode="bilinear"))


def test_a_random_crop_shows_part_of_the_image_without_changing_its_values():
    ramp = torch.linspace(-1, 1, 32).expand(64, 1, 32, 32)
    cropped = random_crop(ramp, torch.Generator().manual_seed(0))
    spans = cropped[:, 0, 16, -1] - cropped[:, 0, 16, 0]
    assert cropped.shape == ramp.shape and cropped.min() >= -1 and cropped.max() <= 1
    assert 0.75 * 2 < spans.min() < 0.85 * 2 and 0.95 * 2 < spans.max() <= 2
    assert torch.equal(random_crop(ramp, torch.Generator().manual_seed(0)), cropped)
    assert to_float(torch.zeros(1, dtype=torch.uint8)).item() == -1


def test_a_papers_network_is_trained_by_its_name_with_our_classes_and_a_null_class(digits, command, tmp_path):
    with torch.device("meta"):
        unet = build_paper_network(
            "iddpm-32", 32, 3, learns_variance=True, num_classes=3, dropout=0.3, is_upsampler=False
        )
    assert sum(p.numel() for p in unet.parameters()) == 52_546_438 + 4 * 512, (
        "Improved DDPM's parameter count plus an embedding of four classes"
    )
    assert unet.config["dropout"] == 0.3 and unet.config["num_class_embeds"] == 4
    other = command("train", "--data", digits, "--run", "other", "--preset", "adm-64", "--max-steps", "1", cwd=tmp_path)
    assert (
        other.returncode == 2 and "works on images of 64 pixels" in other.stderr and not (tmp_path / "other").exists()
    )
