"""Command line: real processes with their files, exit codes and error messages."""

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from diffusion_demo import __main__ as program
from diffusion_demo.cli import doctor, main
from diffusion_demo.images import read_settings
from tests.conftest import ROOT

FAST = ["--steps", "3", "--precision", "fp32"]
NAMES = [f"seed_{seed:08d}.png" for seed in range(7, 16)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def image_folder(command, random_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    done = command(
        "sample", "--checkpoint", random_checkpoint, "--num-images", 9, "--seed", 7, *FAST, "--out", "out", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture
def image_folder_copy(image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "out")
    return tmp_path / "out"


def test_sample_writes_one_image_per_seed(image_folder):
    assert names(image_folder) == NAMES and names(image_folder.parent) == ["out"]
    assert all(Image.open(image_folder / name).size == (16, 16) for name in NAMES)
    assert len({(image_folder / name).read_bytes() for name in NAMES}) == 9


def test_the_same_command_writes_the_same_bytes(command, random_checkpoint, image_folder, tmp_path):
    done = command(
        "sample",
        "--checkpoint",
        random_checkpoint,
        "--num-images",
        9,
        "--seed",
        7,
        *FAST,
        "--out",
        tmp_path / "a/b c",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "a/b c") == NAMES
    for name in NAMES:
        assert (tmp_path / "a/b c" / name).read_bytes() == (image_folder / name).read_bytes()


def test_existing_images_are_kept_and_missing_ones_sampled(command, random_checkpoint, image_folder_copy):
    gone = [image_folder_copy / NAMES[2], image_folder_copy / NAMES[8]]
    before = {name: (image_folder_copy / name).stat().st_mtime_ns for name in NAMES}
    pixels = {path.name: Image.open(path).tobytes() for path in gone}
    for path in gone:
        path.unlink()
    arguments = ["--checkpoint", random_checkpoint, "--num-images", 9, "--seed", 7, *FAST, "--out", image_folder_copy]
    done = command("sample", *arguments, "--json", cwd=image_folder_copy.parent)
    assert done.returncode == 0, done.stderr
    assert [os.path.basename(path) for path in json.loads(done.stdout)["files"]] == NAMES == names(image_folder_copy)
    for name in NAMES:
        if name in pixels:
            again = Image.open(image_folder_copy / name).tobytes()
            assert max(abs(a - b) for a, b in zip(again, pixels[name], strict=True)) <= 4
        else:
            assert (image_folder_copy / name).stat().st_mtime_ns == before[name]


def test_images_with_other_settings_are_rejected(command, random_checkpoint, image_folder_copy):
    before = {name: (image_folder_copy / name).read_bytes() for name in NAMES}
    arguments = [
        "--checkpoint",
        random_checkpoint,
        "--num-images",
        10,
        "--seed",
        7,
        "--steps",
        4,
        "--precision",
        "fp32",
        "--out",
        image_folder_copy,
    ]
    done = command("sample", *arguments, cwd=image_folder_copy.parent)
    assert_rejected(done, "seed_00000007.png", "other settings")
    assert {name: (image_folder_copy / name).read_bytes() for name in names(image_folder_copy)} == before


def test_a_png_holds_its_settings_but_no_time_and_no_path(image_folder, random_checkpoint):
    settings = read_settings(image_folder / NAMES[0])
    assert (
        settings["seed"] == 7
        and settings["num_images"] == 1
        and settings["steps"] == 3
        and settings["sampler"] == "dpm_solver"
    )
    assert (
        settings["checkpoint"] == "random"
        and settings["class"] in ("one", "two", "three")
        and settings["precision"] == "fp32"
    )
    image = Image.open(image_folder / NAMES[0])
    assert isinstance(image, PngImageFile)
    assert list(image.text) == ["diffusion_demo"]
    data = (image_folder / NAMES[0]).read_bytes()
    assert str(random_checkpoint.parent).encode() not in data and str(image_folder.parent).encode() not in data
    assert b"tIME" not in data and time.strftime("%Y-").encode() not in data


def assert_rejected(done, *words):
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].endswith("."), done.stderr
    assert all(word in lines[0] for word in words), lines[0]
    assert done.stdout == ""


@pytest.fixture
def invalid_folders(random_checkpoint, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    shutil.copytree(random_checkpoint, tmp_path / "cut")
    weights = tmp_path / "cut" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:10_000])
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint", "nowhere"], ["nowhere"]),
        (["--checkpoint", "cut"], ["cut", "damaged"]),
        (["--class", "four"], ["'four'", "one, three, two"]),
        (["--out", "file"], ["file"]),
        (["--colour", "red"], ["--colour"]),
    ],
)
def test_sample_rejects_invalid_options_and_writes_nothing(
    command, random_checkpoint, invalid_folders, arguments, words
):
    before = names(invalid_folders)
    defaults = ["--checkpoint", random_checkpoint, "--num-images", "1", *FAST, "--out", "out"]
    assert_rejected(command("sample", *defaults, *arguments, cwd=invalid_folders), *words)
    assert names(invalid_folders) == before and (invalid_folders / "file").read_text() == "in the way"


# In this process, because every new process takes seconds to import torch.
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint", "empty"], "is not a checkpoint"),
        (["--steps", "0"], "from 1 to 1000 (the number of training timesteps), not 0"),
        (["--steps", "1001"], "not 1001"),
        (["--steps", "many"], "not many"),
        (["--steps", "ddim300"], "stride over 1000"),
        (["--steps", "up:4"], "'up'"),
        (["--num-images", "0"], "from 1 to 1000000, not 0"),
        (["--sampler", "euler"], "ddpm, ddim, dpm_solver"),
        (["--eta", "2"], "not 2"),
        (["--seed", "-1"], "not -1"),
        (["--guidance-scale", "-1"], "not -1"),
        (["--precision", "fp8"], "'fp8'"),
        (["--class", "3"], "'3'"),
        (["--out", "file/below"], "file"),
    ],
)
def test_unsupported_settings_are_rejected_on_one_line(
    random_checkpoint, invalid_folders, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(invalid_folders)
    before = names(invalid_folders)
    try:
        code = main(
            ["sample", "--checkpoint", str(random_checkpoint), "--num-images", "1", *FAST, "--out", "out", *arguments]
        )
    except SystemExit as error:
        code = error.code
    printed = capsys.readouterr()
    assert code == 2 and words in printed.err and printed.err.endswith(".\n") and printed.err.count("\n") == 1, (
        printed.err
    )
    assert printed.out == "" and names(invalid_folders) == before


def test_a_missing_option_and_an_unknown_command_are_rejected(command, tmp_path):
    assert_rejected(command("sample", "--out", "out", cwd=tmp_path), "--checkpoint")
    assert_rejected(command("paint", cwd=tmp_path), "paint")
    assert_rejected(command("--checkpoint", "x", cwd=tmp_path), "--checkpoint")
    assert names(tmp_path) == []


def test_every_command_has_help(command, tmp_path):
    for words in (["--help"], ["sample", "--help"], ["train", "--help"], ["evaluate", "--help"], ["doctor", "--help"]):
        done = command(*words, cwd=tmp_path)
        assert done.returncode == 0 and "usage" in done.stdout and done.stderr == ""
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "line",
    [
        ["app.py"],
        ["-m", "diffusion_demo", "doctor"],
        ["-m", "diffusion_demo", "sample", "--checkpoint", "x", "--out", "y"],
    ],
)
def test_missing_packages_are_reported_with_the_install_command(line):
    done = subprocess.run(
        [sys.executable, "-S", *line], cwd=ROOT, capture_output=True, text=True
    )  # -S: without site-packages
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr.count("\n") == 1
        and "is not installed" in done.stderr
        and f"pip install -r {ROOT / 'requirements.txt'}" in done.stderr
    )


def test_doctor_reports_as_text_and_as_json(command, tmp_path):
    text, as_json = command("doctor", cwd=tmp_path), command("doctor", "--json", cwd=tmp_path)
    assert text.returncode == as_json.returncode == 0
    report = json.loads(as_json.stdout)
    assert {"python", "torch", "diffusers", "accelerate", "gradio", "device", "threads", "checkpoints"} <= set(report)
    assert report["python"] == ".".join(map(str, sys.version_info[:3])) and report["threads"] >= 1
    assert all(name in text.stdout for name in report)


KILLED_AT_THE_FOURTH_IMAGE = """
import os, signal, sys
from diffusion_demo.cli import doctor, main

rename, renamed = os.replace, []

def rename_three(source, target):
    if len(renamed) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    renamed.append(target)
    rename(source, target)

os.replace = rename_three
main(sys.argv[1:])
"""


def test_a_command_killed_while_it_writes_images_leaves_whole_ones_and_can_resume(
    command, environment, random_checkpoint, image_folder, tmp_path
):
    arguments = ["sample", "--checkpoint", random_checkpoint, "--num-images", 9, "--seed", 7, *FAST, "--out", "out"]
    line = [sys.executable, "-c", KILLED_AT_THE_FOURTH_IMAGE, *map(str, arguments)]
    killed = subprocess.run(line, cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    *whole, unfinished = sorted(names(tmp_path / "out"), reverse=True)
    assert whole[::-1] == NAMES[:3] and unfinished.startswith(f".{NAMES[3]}.")
    (tmp_path / "out" / ".seed_00000999.png.1a2b3c4d.partial").write_text("of another command that is at work here")
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [name for name in names(tmp_path / "out") if not name.startswith(".seed_00000999")] == NAMES
    for name in NAMES:
        ours, theirs = (np.asarray(Image.open(folder / name), int) for folder in (tmp_path / "out", image_folder))
        assert abs(ours - theirs).max() <= (0 if name in NAMES[:3] else 2), "other batches round a little differently"
    assert (tmp_path / "out" / ".seed_00000999.png.1a2b3c4d.partial").is_file()


def test_a_run_folder_resolves_to_its_latest_checkpoint(command, trained_run, tmp_path):
    done = command("sample", "--checkpoint", trained_run, "--num-images", 1, *FAST, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_settings(tmp_path / "out" / "seed_00000000.png")["checkpoint"] == "run/step_000012"


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "--checkpoint", "{}", "--out", "out"),
        ("train", "--data", "{}", "--data", ".", "--run", "run", "--max-steps", "1"),
        ("train", "--data", ".", "--init-from", "{}", "--run", "run", "--max-steps", "1"),
        ("train", "--resume", "--run", "{}", "--max-steps", "1"),
        ("evaluate", "--samples", ".", "--data", ".", "--save-npz", "{}.npz"),
        ("import", "{}", "--out", "out"),
        ("import", "file.pt", "--out", "{}"),
        ("export", "--checkpoint", "{}", "--out", "out"),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_a_name_that_is_too_long_for_the_disk_is_rejected_on_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([word.format("long" * 100) for word in arguments]) == 2
    assert_one_line(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("empty", ["", " ", '""', "file:"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "--checkpoint", "{}", "--out", "out"),
        ("sample", "--checkpoint", "avatars-32", "--out", "{}"),
        ("sample", "--checkpoint", "avatars-32", "--upsampler", "{}", "--out", "out"),
        ("train", "--data", ".", "--run", "{}", "--max-steps", "1"),
        ("train", "--data", ".", "--run", "run", "--max-steps", "1", "--config", "{}"),
        ("train", "--data", ".", "--run", "run", "--max-steps", "1", "--init-from", "{}"),
        ("evaluate", "--samples", "{}", "--data", "."),
        ("evaluate", "--samples", ".", "--data", ".", "--work", "{}"),
        ("export", "--checkpoint", "avatars-32", "--push-to-hub", "me/name", "--license", "mit", "--evaluation", "{}"),
        ("import", "{}", "--out", "out"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_an_empty_path_is_rejected_and_does_not_mean_the_current_folder(
    arguments, empty, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([word.format(empty) for word in arguments])
    except SystemExit as error:
        code = error.code
    assert code == 2 and "is empty" in assert_one_line(capsys.readouterr().err) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("named", ["~nobody-of-this-name/runs", " ", "'/quoted'"])
def test_any_text_as_the_runs_folder_leaves_the_commands_usable(named, monkeypatch, capsys):
    monkeypatch.setenv("DIFFUSION_DEMO_RUNS", named)
    assert main(["doctor"]) == 0
    folder = {" ": str(ROOT / "runs"), "'/quoted'": "/quoted"}.get(named, os.path.abspath(named))
    assert f" {folder}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "--checkpoint", "avatars-32", "--out", "out", "--class", "{}"),
        ("sample", "--checkpoint", "avatars-32", "--out", "out", "--seed", "{}"),
        ("sample", "--checkpoint", "avatars-32", "--out", "out", "--steps", "{}"),
        ("sample", "--checkpoint", "avatars-32", "--out", "out", "--steps", "5,{}"),
        ("train", "--data", ".", "--run", "run", "--max-steps", "{}"),
        ("page", "--port", "{}"),
        ("page", "--port", "99999"),
        ("page", "--port", "0"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_number_out_of_range_is_rejected_in_a_short_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = program.main([word.format("9" * 5000) for word in arguments])
    except SystemExit as error:
        code = error.code
    assert code == 2 and len(assert_one_line(capsys.readouterr().err)) < 500 and not list(tmp_path.iterdir())


def test_a_disk_error_is_one_line_and_an_error_of_the_program_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "run", raises(PermissionError(errno.EACCES, "Permission denied", "/closed/file")))
    assert main(["doctor"]) == 2 and "/closed/file (Permission denied)" in assert_one_line(capsys.readouterr().err)
    monkeypatch.setattr(doctor, "run", raises(FileNotFoundError(errno.ENOENT, "No such file", "/ours/asset.css")))
    with pytest.raises(FileNotFoundError):
        main(["doctor"])


def test_a_deleted_current_folder_is_reported(environment, tmp_path):
    line = f"mkdir gone && cd gone && rmdir ../gone && {shlex.quote(sys.executable)} -m diffusion_demo doctor"
    done = subprocess.run(
        line, shell=True, cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "current folder no longer exists" in assert_one_line(done.stderr)


def test_a_model_that_makes_no_images_is_refused_before_a_folder_is_created(tmp_path, capsys):
    assert main(["sample", "--checkpoint", "avatars-64", "--out", str(tmp_path / "out")]) == 2
    assert "is an upsampler" in assert_one_line(capsys.readouterr().err) and not list(tmp_path.iterdir())


def raises(error):
    """Return a function that raises `error`."""

    def fail(*arguments):
        raise error

    return fail


def assert_one_line(text):
    """Assert that a text is one sentence on one line, without a progress bar, and return it."""
    assert text.count("\n") == 1 and text.endswith(".\n"), text
    return text
