"""Settings reach the trainer as a file with the schema of the command line, never as arguments."""

import json
import shlex
import subprocess
import sys

import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig, check_settings
from diffusion_demo.training.process import SECRETS, last_log_line, readable_options, start
from diffusion_demo.training.run_folder import RunFolder

INJECTIONS = ["--data=/private", "--run=/elsewhere", "--max-minutes=999999", "--init-from=google/ddpm-cifar10-32"]


@pytest.fixture
def spied(monkeypatch):
    """The argument lists of all subprocesses that are started, which really run."""
    lines, real = [], subprocess.Popen

    def popen(line, **options):
        lines.append(line)
        return real(line, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    return lines


def test_no_setting_is_an_argument_and_the_command_is_readable_and_repeatable(digits, tmp_path, spied):
    run = RunFolder(tmp_path / "run")
    settings = {"data": str(digits), "preset": "tiny", "image_size": 16, "channels": 1, "batch_size": 8}
    settings |= {"flip": False, "ema_decays": (0.99,), "learning_rate": 0.002}
    child = start(run, settings, 0.02)
    assert child.wait(timeout=300) == 0, last_log_line(run)
    (line,) = spied
    assert not any(str(value) in line for value in settings.values())
    config, _, command = run.read_config()
    assert (config.flip, config.ema_decays, config.learning_rate) == (False, (0.99,), 0.002)
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "diffusion_demo", "train"] and "--no-flip" in words and "--config" not in words
    again = [word.replace(str(run.path), str(tmp_path / "again")) for word in words[1:]]
    subprocess.run([sys.executable, *again], check=True, capture_output=True, timeout=300)
    assert RunFolder(tmp_path / "again").read_config()[0] == config


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("name", TrainConfig.model_fields)
def test_an_option_as_the_value_of_a_setting_is_refused_or_stays_a_value(name, text):
    flag = name.replace("_", "-")
    assert readable_options({name: text}) == [f"--{flag}={text}"]
    if name not in ("data", "init_from", "preset", "background"):
        with pytest.raises(BadInput):
            check_settings({name: text})


def test_the_trainer_validates_the_file(tmp_path, digits):
    for i, (settings, words) in enumerate(
        (
            ({"data": str(digits), "flip": INJECTIONS[0]}, "Flip must be true or false"),
            ({"data": str(digits), "run": "/elsewhere"}, "There is no setting 'run'"),
            ({"data": str(digits), "batch_size": 10**9}, "Batch size must be from 1 to 4,096"),
        )
    ):
        run = RunFolder(tmp_path / str(i))
        assert start(run, settings, 1).wait(timeout=120) == 2
        assert words.replace(",", "") in last_log_line(run).replace(",", "") and not run.exists


@pytest.mark.parametrize("content", ["", "[]", "{", "null", "[" * 100_000, json.dumps({"flip": "x"})])
def test_a_damaged_settings_file_is_one_sentence(command, tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    done = command("train", "--run", "run", "--config", "settings.json", "--max-steps", 1, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr


def test_the_trainer_gets_no_secret_of_the_page(tmp_path, digits, monkeypatch):
    """The real child: psutil reads its environment, as its own code and images could."""
    import psutil

    for name in SECRETS:
        monkeypatch.setenv(name, "hf_secret")
    run = RunFolder(tmp_path / "run")
    child = start(run, {"data": str(digits)}, 1)
    try:
        environment = psutil.Process(child.pid).environ()
    finally:
        child.kill()
        child.wait()
    assert environment["PYTHONUNBUFFERED"] == "1" and "hf_secret" not in environment.values()
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"hf_secret" in path.read_bytes()]
