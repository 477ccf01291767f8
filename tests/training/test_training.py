"""The trainer, as real processes: what it leaves in the run folder, and how it stops, dies and goes on."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from diffusion_demo.cli import main
from diffusion_demo.data import Pictures, load, scan
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.description import describe
from diffusion_demo.training.batches import batch_of_step, held_out_batches, indices_of_step
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.run import RunFolder

ENDLESS = ["--max-minutes", "10", "--save-every", "3", "--sample-every", "100000"]


def events_of(run):
    return RunFolder(run).events()


def of_type(run, kind):
    return [event for event in events_of(run) if event["type"] == kind]


def assert_refused(done, *words):
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].endswith(".") and all(word in lines[0] for word in words), done.stderr


@pytest.fixture
def background(environment):
    """Start a trainer that goes on until it is told to stop; whatever is left of it is killed at the end."""
    children = []

    def start(*arguments, cwd):
        line = [sys.executable, "-m", "diffusion_demo", "train", *map(str, arguments)]
        child = subprocess.Popen(line, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def wait_for(condition, child, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < end, "the trainer did not get there"
        time.sleep(0.05)


def test_a_run_folder_holds_its_config_events_samples_and_checkpoints(trained_run):
    config = json.loads((trained_run / "config.json").read_text())
    assert config["config"]["preset"] == "tiny" and config["config"]["batch_size"] == 8
    assert config["data"]["pictures"] == 60 and len(config["data"]["held_out_digests"]) == config["data"]["held_out"] > 0
    assert sorted(path.name for path in (trained_run / "samples").iterdir()) == ["step_000012.png", "step_000012_raw.png"]
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
    done = command("sample", "--checkpoint", trained_checkpoint, "--num-images", 2, "--steps", 2, "--class", "two", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_an_existing_run_is_refused_without_resume(trained_run, digits, command, tiny, tmp_path):
    before = (trained_run / "events.jsonl").read_bytes()
    assert_refused(command("train", "--data", digits, "--run", trained_run, *tiny, "--max-steps", 1, cwd=tmp_path), "--resume")
    assert (trained_run / "events.jsonl").read_bytes() == before


def test_a_run_keeps_the_settings_that_it_began_with(trained_run, command, tmp_path):
    assert_refused(command("train", "--run", trained_run, "--resume", "--batch-size", 4, "--max-steps", 14, cwd=tmp_path), "--batch-size")


@pytest.fixture
def odd_folders(digits, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "notes.txt").write_text("no picture")
    (tmp_path / "digits").symlink_to(digits)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "empty"], "no pictures"),
        (["--data", "digits", "--image-size", "18"], "16 and 20"),
        (["--data", "digits", "--init-from", "empty"], "empty"),
    ],
)
def test_a_run_that_cannot_start_is_refused_and_leaves_no_run(command, tiny, odd_folders, arguments, words):
    assert_refused(command("train", "--run", "run", *tiny, "--max-steps", 1, *arguments, cwd=odd_folders), words)
    assert not (odd_folders / "run" / "config.json").exists()


# the same through main() in this process, which spares the seconds that each process takes to load torch
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "words"], "no pictures"),
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
    assert code == 2 and words in printed.err and printed.err.endswith(".\n") and printed.err.count("\n") == 1, printed.err
    assert not (odd_folders / "run" / "config.json").exists()


def weights_of(checkpoint):
    return {
        f"{path.relative_to(checkpoint).as_posix()}:{name}": value
        for path in sorted(checkpoint.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


LOSS_AWARE = ["--loss", "kl", "--timestep-sampler", "loss_aware", "--num-train-timesteps", 2, "--prediction-type", "v_prediction"]


@pytest.mark.parametrize(("options", "files"), [(["--dropout", 0.2], 4), (LOSS_AWARE, 5)], ids=["hybrid", "loss-aware"])
def test_a_resumed_run_ends_with_the_weights_of_one_that_never_stopped(command, digits, tiny, tmp_path, options, files):
    common = ["--data", digits, *tiny, "--save-every", 100, "--sample-every", 100, *options]
    for run, budgets in (("straight", [8]), ("halves", [4, 8])):
        for budget in budgets:
            done = command("train", "--run", run, *common, "--max-steps", budget, *(["--resume"] if budget != budgets[0] else []), cwd=tmp_path)
            assert done.returncode == 0, done.stderr
    straight, halves = (weights_of(tmp_path / run / "checkpoints" / "step_000008") for run in ("straight", "halves"))
    assert straight.keys() == halves.keys() and len({name.split(":")[0] for name in straight}) == files
    assert not [name for name in straight if not torch.equal(straight[name], halves[name])]
    starts = of_type(tmp_path / "halves", "start")
    assert [event["resumed_from"] for event in starts] == [0, 4]


def test_two_processes_draw_t_and_learn_as_one_does(command, environment, digits, tiny, tmp_path):
    common = ["--data", str(digits), *tiny, *map(str, LOSS_AWARE), "--dropout", "0", "--max-steps", "6"]
    done = command("train", "--run", "one", *common, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = ["--num_machines", "1", "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    plain = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", *here, *plain]
    both = environment | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    line = [*launcher, "-m", "diffusion_demo", "train", "--run", "two", *common]
    done = subprocess.run(line, cwd=tmp_path, env=both, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert of_type(tmp_path / "two", "start")[0]["processes"] == 2
    for one, two in zip(*(of_type(tmp_path / run, "step") for run in ("one", "two")), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3) and two["error"] == pytest.approx(one["error"], rel=1e-3)
    one, two = (weights_of(tmp_path / run / "checkpoints" / "step_000006") for run in ("one", "two"))
    assert torch.equal(one["state/timesteps.safetensors:counts"], two["state/timesteps.safetensors:counts"])
    for name in ("state/timesteps.safetensors:losses", "unet/diffusion_pytorch_model.safetensors:conv_in.weight"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-3)


def test_ctrl_c_saves_and_ends_well(background, digits, tiny, tmp_path):
    run = tmp_path / "run"
    child = background("--data", digits, "--run", run, *tiny, "--max-minutes", 10, "--save-every", 100000, "--sample-every", 100000, cwd=tmp_path)
    wait_for(lambda: of_type(run, "step"), child)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 0
    finished = events_of(run)[-1]
    assert finished["type"] == "finished" and finished["reason"] == "stopped"
    assert RunFolder(run).latest().name == f"step_{finished['step']:06d}"
    assert load_checkpoint(RunFolder(run).latest()).description.steps == finished["step"]


def test_a_stop_in_control_jsonl_saves_and_ends_well_and_a_second_trainer_is_refused(background, command, digits, tiny, tmp_path):
    run = tmp_path / "run"
    child = background("--data", digits, "--run", run, *tiny, *ENDLESS, cwd=tmp_path)
    wait_for(lambda: of_type(run, "saved"), child)
    assert_refused(command("train", "--run", run, "--resume", "--max-steps", 100000, cwd=tmp_path), "Another trainer")
    assert child.poll() is None and len(of_type(run, "start")) == 1
    with (run / "control.jsonl").open("a") as file:
        file.write('{"type":"stop"}\n')
    assert child.wait(timeout=60) == 0
    finished = events_of(run)[-1]
    assert finished["type"] == "finished" and RunFolder(run).latest().name == f"step_{finished['step']:06d}"
    # the old stop belongs to the call that it ended
    budget = finished["step"] + 2
    done = command("train", "--run", run, "--resume", "--max-steps", budget, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert events_of(run)[-1]["step"] == budget and events_of(run)[-1]["reason"] == "max_steps"


def test_a_killed_trainer_goes_on_from_its_last_whole_checkpoint(background, command, digits, tiny, tmp_path):
    run = tmp_path / "run"
    child = background("--data", digits, "--run", run, *tiny, *ENDLESS, cwd=tmp_path)
    wait_for(lambda: len(of_type(run, "saved")) >= 2, child)
    child.kill()
    child.wait()
    latest = RunFolder(run).latest()
    step = int(latest.name.removeprefix("step_"))
    # what a kill in the middle of a write leaves
    half = run / "checkpoints" / f".step_{step + 3:06d}.partial"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    with (run / "events.jsonl").open("a") as file:
        file.write('{"type": "step", "st')
    done = command("train", "--run", run, "--resume", "--max-steps", step + 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (run / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    starts = [event for event in events if event["type"] == "start"]
    assert [event["resumed_from"] for event in starts] == [0, step]
    assert events[-1]["type"] == "finished" and events[-1]["step"] == step + 3
    assert load_checkpoint(RunFolder(run).latest()).description.steps == step + 3
    assert not half.exists()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_trainer_killed_at_random_instants_ends_with_the_weights_of_one_that_never_was(background, command, digits, tiny, tmp_path, kills):
    steps, common = 12 * kills, ["--data", digits, *tiny, "--save-every", 2, "--sample-every", 30]
    done = command("train", "--run", "straight", *common, "--max-steps", steps, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run, chance = RunFolder(tmp_path / "killed"), random.Random(kills)
    for _ in range(kills):
        child = background("--run", run.path, *common, "--max-steps", steps, *(["--resume"] if run.exists else []), cwd=tmp_path)
        before = len(run.events())
        wait_for(lambda before=before: len(run.events()) > before + 1, child)
        time.sleep(chance.uniform(0, 2))
        child.kill()
        child.wait()
        if (latest := run.latest()) is not None:
            assert load_checkpoint(latest).description.steps == int(latest.name.removeprefix("step_"))
    done = command("train", "--run", run.path, *common, "--max-steps", steps, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    straight, killed = (weights_of(tmp_path / name / "checkpoints" / f"step_{steps:06d}") for name in ("straight", "killed"))
    assert straight.keys() == killed.keys() and not [name for name in straight if not torch.equal(straight[name], killed[name])]
    assert len([event for event in run.events() if event["type"] == "start"]) == kills + 1


def test_three_pictures_fill_a_batch_of_32(command, digits, tiny, tmp_path):
    (tmp_path / "three").mkdir()
    for i, path in enumerate(sorted(digits.rglob("*.png"))[:3]):
        shutil.copy(path, tmp_path / "three" / f"{i}.png")
    done = command("train", "--data", "three", "--run", "run", *tiny, "--batch-size", 32, "--max-steps", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert events_of(tmp_path / "run")[-1]["step"] == 2
    assert "3 pictures" in of_type(tmp_path / "run", "warned")[0]["message"]
    assert not of_type(tmp_path / "run", "held_out")
    description = load_checkpoint(tmp_path / "run" / "checkpoints" / "step_000002").description
    assert description.class_names == () and not description.guidance and description.images_seen == 64


def test_held_out_pictures_are_in_no_batch_and_every_other_picture_is_in_each_epoch(digits):
    report = scan(digits)
    training, held_out = load(report, 16, 1, False), load(report, 16, 1, True)
    assert len(held_out) >= 2 and len(training) + len(held_out) == 60
    config = TrainConfig("digits", batch_size=len(training), flip=False)
    forbidden = {picture.numpy().tobytes() for picture in to_float(held_out.images)}
    for step in (1, 2, 3):
        batch = batch_of_step(config, training, 3, 1000, step)
        seen = {picture.numpy().tobytes() for picture in batch.x0}
        assert seen == {picture.numpy().tobytes() for picture in to_float(training.images)}
        assert not seen & forbidden


def test_the_held_out_measure_uses_held_out_pictures_only_at_noise_that_never_changes(digits):
    held_out = load(scan(digits), 16, 1, True)
    first, again = list(held_out_batches(held_out, 1000, 8)), list(held_out_batches(held_out, 1000, 8))
    assert sum(len(batch.x0) for batch in first) == 4 * len(held_out)
    many = Pictures(torch.arange(2000, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 16, 16), torch.arange(2000))
    labels = torch.cat([batch.labels for batch in held_out_batches(many, 1000, 64)])
    assert len(labels) == 512 == len(labels.unique()) and labels.max() > 1990, "some of very many, from all over"
    allowed = {picture.numpy().tobytes() for picture in to_float(held_out.images)}
    assert {picture.numpy().tobytes() for batch in first for picture in batch.x0} == allowed
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.eps, b.eps) and torch.equal(a.t, b.t)


def test_a_batch_is_decided_by_the_seed_and_its_step(digits):
    pictures = load(scan(digits), 16, 1, False)
    config = TrainConfig("digits", batch_size=8)
    first, again, later = (batch_of_step(config, pictures, 3, 1000, step) for step in (5, 5, 6))
    other = batch_of_step(TrainConfig("digits", batch_size=8, seed=1), pictures, 3, 1000, 5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.eps, later.eps) and not torch.equal(first.eps, other.eps)


@pytest.mark.parametrize(("batch_size", "count"), [(32, 3), (8, 20), (7, 7), (5, 13)])
def test_every_picture_is_seen_equally_often(batch_size, count):
    config = TrainConfig("digits", batch_size=batch_size)
    seen = torch.cat([indices_of_step(config, step, count) for step in range(1, count + 1)])
    assert torch.bincount(seen, minlength=count).tolist() == [batch_size] * count


def test_labels_are_dropped_to_the_null_class_at_the_rate_asked_for(digits):
    pictures = load(scan(digits), 16, 1, False)
    for rate in (0.0, 0.3):
        config = TrainConfig("digits", batch_size=2000, label_dropout=rate)
        labels = batch_of_step(config, pictures, 3, 1000, 1).labels
        assert abs((labels == 3).float().mean().item() - rate) < 0.05


def test_pictures_are_mirrored_half_of_the_time_or_never(digits):
    pictures = load(scan(digits), 16, 1, False)
    originals = {picture.numpy().tobytes() for picture in to_float(pictures.images)}
    for flip, low, high in ((True, 0.4, 0.6), (False, 1.0, 1.0)):
        x0 = batch_of_step(TrainConfig("digits", batch_size=1000, flip=flip), pictures, None, 1000, 1).x0
        share = sum(picture.numpy().tobytes() in originals for picture in x0) / 1000
        assert low <= share <= high


def test_training_can_go_on_from_a_checkpoint_with_its_own_classes(command, trained_checkpoint, trained_run, digits, tmp_path):
    options = ["--init-from", trained_checkpoint, "--batch-size", 8, "--channels", 1, "--image-size", 16, "--precision", "fp32"]
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
    options = ["--init-from", trained_checkpoint, "--batch-size", 8, "--channels", 1, "--image-size", 16, "--max-steps", 2]
    done = command("train", "--data", "data", "--run", "run", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = load_checkpoint(tmp_path / "run" / "checkpoints" / "step_000002")
    assert found.description.class_names == ("my one", "my two") and found.unet.config.num_class_embeds == 3
    assert found.description.images_seen == 96 + 16
    before, after = load_checkpoint(trained_checkpoint).unet.state_dict(), found.unet.state_dict()
    name = "down_blocks.0.resnets.0.conv1.weight"
    assert (before[name] - after[name]).abs().max() < 0.01 < before[name].abs().max()


def test_the_newest_three_checkpoints_are_kept_and_the_best(command, digits, tiny, tmp_path):
    worse = ["--learning-rate", 0.02, "--warmup-steps", 0, "--ema-decays", 0]  # every step takes the held-out loss further up
    done = command("train", "--data", digits, "--run", "run", *tiny, *worse, "--save-every", 1, "--max-steps", 6, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run, losses = RunFolder(tmp_path / "run"), {event["step"]: event["loss"] for event in of_type(tmp_path / "run", "held_out")}
    best = min(losses, key=losses.get)
    assert run.best().name == f"step_{best:06d}" and describe(run.best()).held_out_loss == losses[best]
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
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4) and b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)
    done = command("train", "--run", "plain", "--resume", *less, "--max-steps", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_gradient_checkpointing_alone_changes_no_bit_even_with_dropout(command, digits, tiny, tmp_path):
    for run, options in (("plain", []), ("less", ["--gradient-checkpointing"])):
        done = command("train", "--run", run, "--data", digits, *tiny, "--dropout", 0.2, "--max-steps", 3, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    plain, spared = (weights_of(tmp_path / run / "checkpoints" / "step_000003") for run in ("plain", "less"))
    assert not [name for name in plain if not torch.equal(plain[name], spared[name])]


def test_a_resumed_run_keeps_the_command_that_began_it_and_refuses_a_damaged_state(trained_run, command, digits, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    done = command("train", "--resume", "--run", "run", "--data", digits, "--max-steps", 13, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    newest = run / "checkpoints" / "step_000013"
    assert "--preset tiny" in describe(newest).command and "--resume" not in describe(newest).command
    os.truncate(newest / "state" / "weights.safetensors", 1000)
    refused = command("train", "--resume", "--run", "run", "--max-steps", 14, cwd=tmp_path)
    assert refused.returncode == 2 and "step_000013" in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_a_schedule_that_does_not_end_in_noise_is_warned_of(command, tiny, digits, tmp_path):
    options = ["--beta-schedule", "scaled_linear", "--num-train-timesteps", 100, "--max-steps", 1, "--json"]
    done = command("train", "--data", digits, "--run", "run", *tiny, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    warnings = [event["message"] for event in map(json.loads, done.stdout.splitlines()) if event["type"] == "warned"]
    assert any("abar_T" in message and "cosine" in message for message in warnings)
