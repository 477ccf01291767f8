"""Training as real processes: contents of the run folder, refused arguments, and initial checkpoints."""

import json
import os
import shutil
from itertools import pairwise

import pytest
import torch
from PIL import Image

from diffusion_demo.cli import main
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.training.run_folder import RunFolder
from tests.training.events import assert_refused, events_of, of_type, unet_config, weights_of


def test_a_run_folder_holds_its_config_events_samples_and_checkpoints(trained_run):
    config = json.loads((trained_run / "config.json").read_text())
    assert config["config"]["preset"] == "tiny" and config["config"]["batch_size"] == 8
    assert config["data"]["images"] == 60 and len(config["data"]["held_out_digests"]) == config["data"]["held_out"] > 0
    assert sorted(path.name for path in (trained_run / "samples").iterdir()) == [
        "step_000012.png",
        "step_000012_nearest.png",
        "step_000012_raw.png",
    ]
    assert Image.open(trained_run / "samples" / "step_000012.png").size == (64, 64)
    checkpoints = trained_run / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["latest", "step_000006", "step_000012"]
    assert (checkpoints / "latest").read_text().strip() == "step_000012"
    assert not list(trained_run.rglob("*.partial"))


def test_events_begin_with_start_and_end_with_finished(trained_run):
    events = events_of(trained_run)
    kinds = [event["type"] for event in events]
    assert kinds[0] == "start" and kinds[-1] == "finished" and kinds.count("start") == 1
    assert events[0]["resumed_from"] == 0 and events[0]["max_steps"] == 12 and events[0]["pid"] > 0
    assert events[-1]["step"] == 12 and events[-1]["reason"] == "max_steps"
    steps = [event["step"] for event in events if event["type"] == "step"]
    assert steps[0] == 1 and max(b - a for a, b in pairwise(steps)) <= 5 and steps[-1] >= 8
    assert [event["step"] for event in events if event["type"] == "saved"] == [6, 12]
    assert [event["path"] for event in events if event["type"] == "preview"] == ["samples/step_000012.png"]


def test_step_events_hold_finite_measures(trained_run):
    for event in of_type(trained_run, "step"):
        assert event["loss"] > 0 and event["error"] > 0 and event["vlb"] is not None and event["grad_norm"] > 0
        assert len(event["bands"]) == 4 and event["images_seen"] == 8 * event["step"]
    held_out = of_type(trained_run, "held_out")
    assert [event["step"] for event in held_out] == [6, 12] and held_out[1]["loss"] < held_out[0]["loss"]


def test_a_saved_checkpoint_loads_and_samples(trained_checkpoint, command, tmp_path):
    found = load_checkpoint(trained_checkpoint)
    assert found.description.class_names == ("one", "three", "two") and found.description.guidance
    assert found.description.images_seen == 96 and found.description.steps == 12
    assert "--preset tiny" in found.description.command and "held-out" in (trained_checkpoint / "README.md").read_text()
    done = command(
        "sample",
        "--checkpoint",
        trained_checkpoint,
        "--num-images",
        2,
        "--steps",
        2,
        "--class",
        "two",
        "--out",
        "out",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_an_existing_run_is_refused_without_resume(trained_run, digits, command, tiny, tmp_path):
    before = (trained_run / "events.jsonl").read_bytes()
    assert_refused(
        command("train", "--data", digits, "--run", trained_run, *tiny, "--max-steps", 1, cwd=tmp_path), "--resume"
    )
    assert (trained_run / "events.jsonl").read_bytes() == before


def test_a_run_keeps_the_settings_that_it_began_with(trained_run, command, tmp_path):
    assert_refused(
        command("train", "--run", trained_run, "--resume", "--batch-size", 4, "--max-steps", 14, cwd=tmp_path),
        "--batch-size",
    )


@pytest.fixture
def odd_folders(digits, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "notes.txt").write_text("no image")
    (tmp_path / "digits").symlink_to(digits)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "empty"], "No readable images"),
        (["--data", "digits", "--image-size", "18"], "16 and 20"),
        (["--data", "digits", "--init-from", "empty"], "empty"),
    ],
)
def test_a_run_that_cannot_start_is_refused_and_leaves_no_run(command, tiny, odd_folders, arguments, words):
    assert_refused(command("train", "--run", "run", *tiny, "--max-steps", 1, *arguments, cwd=odd_folders), words)
    assert not (odd_folders / "run" / "config.json").exists()


# These call main() in this process, because a new process takes seconds to import torch.
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "words"], "No readable images"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "words/notes.txt"], "notes.txt"),
        (["--data", "digits", "--batch-size", "0"], "Batch size"),
        (["--data", "digits", "--preset", "huge"], "huge"),
        (["--data", "digits", "--max-steps", "0"], "--max-steps"),
        (["--data", "digits", "--learning-rate", "fast"], "--learning-rate"),
        (["--data", "digits", "--learning-rate", "nan"], "Learning rate"),
        (["--data", "digits", "--ema-decays", "0.9,high"], "--ema-decays"),
        (["--data", "digits", "--channels", "2"], "Channels"),
        (["--data", "digits", "--loss", "huber"], "simple, hybrid"),
        (["--data", "digits", "--accumulation", "3"], "3 equal parts"),
        (["--data", "digits", "--loss", "simple"], "does not train a learned variance"),
        (["--data", "digits", "--timestep-sampler", "sorted"], "stratified, uniform, loss_aware"),
        (["--data", "digits", "--beta-schedule", "linear", "--num-train-timesteps", "20"], "20"),
        (["--data", "digits", "--resume"], "no run to resume"),
        ([], "--data"),
    ],
)
def test_what_a_run_cannot_do_is_refused_in_one_sentence(tiny, odd_folders, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(odd_folders)
    try:
        code = main(["train", "--run", "run", *tiny, "--max-steps", "1", *arguments])
    except SystemExit as left:
        code = left.code
    printed = capsys.readouterr()
    assert code == 2 and words in printed.err and printed.err.endswith(".\n") and printed.err.count("\n") == 1, (
        printed.err
    )
    assert not (odd_folders / "run" / "config.json").exists()


def test_three_images_fill_a_batch_of_32(command, digits, tiny, tmp_path):
    (tmp_path / "three").mkdir()
    for i, path in enumerate(sorted(digits.rglob("*.png"))[:3]):
        shutil.copy(path, tmp_path / "three" / f"{i}.png")
    done = command(
        "train", "--data", "three", "--run", "run", *tiny, "--batch-size", 32, "--max-steps", 2, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert events_of(tmp_path / "run")[-1]["step"] == 2
    assert "3 images" in of_type(tmp_path / "run", "warned")[0]["message"]
    assert not of_type(tmp_path / "run", "held_out")
    description = load_checkpoint(tmp_path / "run" / "checkpoints" / "step_000002").description
    assert description.class_names == () and not description.guidance and description.images_seen == 64


def test_training_can_go_on_from_a_checkpoint_with_its_own_classes(
    command, trained_checkpoint, trained_run, digits, tmp_path
):
    options = [
        "--init-from",
        trained_checkpoint,
        "--batch-size",
        8,
        "--channels",
        1,
        "--image-size",
        16,
        "--precision",
        "fp32",
    ]
    slow = ["--learning-rate", "1e-8", "--max-steps", 1]
    done = command("train", "--data", digits, "--run", "run", *options, *slow, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (held_out,) = of_type(tmp_path / "run", "held_out")
    assert held_out["loss"] == pytest.approx(of_type(trained_run, "held_out")[-1]["loss"], rel=1e-3)
    description = load_checkpoint(tmp_path / "run" / "checkpoints" / "step_000001").description
    assert description.images_seen == 96 + 8 and description.steps == 1 and description.num_train_timesteps == 100
    assert of_type(tmp_path / "run", "step")[-1]["images_seen"] == 104


def test_training_can_go_on_from_a_checkpoint_with_other_classes(command, trained_checkpoint, digits, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(digits / name, tmp_path / "data" / f"my {name}")
    options = [
        "--init-from",
        trained_checkpoint,
        "--batch-size",
        8,
        "--channels",
        1,
        "--image-size",
        16,
        "--max-steps",
        2,
    ]
    done = command("train", "--data", "data", "--run", "run", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = load_checkpoint(tmp_path / "run" / "checkpoints" / "step_000002")
    assert found.description.class_names == ("my one", "my two") and unet_config(found)["num_class_embeds"] == 3
    assert found.description.images_seen == 96 + 16
    before, after = load_checkpoint(trained_checkpoint).unet.state_dict(), found.unet.state_dict()
    name = "down_blocks.0.resnets.0.conv1.weight"
    assert (before[name] - after[name]).abs().max() < 0.01 < before[name].abs().max()


def test_the_newest_three_checkpoints_are_kept_and_the_best(command, digits, tiny, tmp_path):
    worse = [
        "--prediction-type",
        "epsilon",
        "--snr-gamma",
        0,
        "--learning-rate",
        0.02,
        "--warmup-steps",
        0,
        "--ema-decays",
        0,
    ]  # every step increases the held-out loss
    done = command(
        "train", "--data", digits, "--run", "run", *tiny, *worse, "--save-every", 1, "--max-steps", 6, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    run, losses = (
        RunFolder(tmp_path / "run"),
        {event["step"]: event["loss"] for event in of_type(tmp_path / "run", "held_out")},
    )
    best = min(losses, key=lambda step: losses[step])
    best_checkpoint = run.best()
    assert best_checkpoint is not None and best_checkpoint.name == f"step_{best:06d}"
    assert load_metadata(best_checkpoint).held_out_loss == losses[best]
    kept = {int(path.name.removeprefix("step_")) for path in run.checkpoints.glob("step_*")}
    assert kept == {4, 5, 6, best} and best < 4


def test_less_memory_changes_no_result_and_may_be_asked_for_later(command, digits, tiny, tmp_path):
    common = ["--data", digits, *tiny, "--dropout", 0, "--max-steps", 3]
    less = ["--accumulation", 4, "--gradient-checkpointing"]
    for run, options in (("plain", []), ("less", less)):
        done = command("train", "--run", run, *common, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    plain, spared = (weights_of(tmp_path / run / "checkpoints" / "step_000003") for run in ("plain", "less"))
    for name in plain:
        torch.testing.assert_close(spared[name], plain[name], rtol=1e-3, atol=1e-4)
    for a, b in zip(*(of_type(tmp_path / run, "step") for run in ("plain", "less")), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4) and b["grad_norm"] == pytest.approx(
            a["grad_norm"], rel=1e-3
        )
    done = command("train", "--run", "plain", "--resume", *less, "--max-steps", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_gradient_checkpointing_alone_changes_no_bit_even_with_dropout(command, digits, tiny, tmp_path):
    for run, options in (("plain", []), ("less", ["--gradient-checkpointing"])):
        done = command(
            "train", "--run", run, "--data", digits, *tiny, "--dropout", 0.2, "--max-steps", 3, *options, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
    plain, spared = (weights_of(tmp_path / run / "checkpoints" / "step_000003") for run in ("plain", "less"))
    assert not [name for name in plain if not torch.equal(plain[name], spared[name])]


def test_a_resumed_run_keeps_the_command_that_began_it_and_refuses_a_damaged_state(
    trained_run, command, digits, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    done = command("train", "--resume", "--run", "run", "--data", digits, "--max-steps", 13, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    newest = run / "checkpoints" / "step_000013"
    assert "--preset tiny" in load_metadata(newest).command and "--resume" not in load_metadata(newest).command
    os.truncate(newest / "state" / "weights.safetensors", 1000)
    refused = command("train", "--resume", "--run", "run", "--max-steps", 14, cwd=tmp_path)
    assert refused.returncode == 2 and "step_000013" in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_a_schedule_that_does_not_end_in_noise_is_warned_of(command, tiny, digits, tmp_path):
    options = ["--beta-schedule", "scaled_linear", "--num-train-timesteps", 100, "--max-steps", 1, "--json"]
    done = command("train", "--data", digits, "--run", "run", *tiny, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    warnings = [event["message"] for event in map(json.loads, done.stdout.splitlines()) if event["type"] == "warned"]
    assert any("abar_T" in message and "cosine" in message for message in warnings)
