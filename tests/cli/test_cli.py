"""The command line, as a person meets it: real processes, their files, their exit codes, their one sentence."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from PIL import Image

from diffusion_demo.cli import main
from diffusion_demo.images import read_settings
from tests.conftest import ROOT

FAST = ["--steps", "3", "--precision", "fp32"]
NINE = [f"seed_{seed:08d}.png" for seed in range(7, 16)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def nine(command, random_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nine")
    done = command(
        "sample", "--checkpoint", random_checkpoint, "--num-images", 9, "--seed", 7, *FAST, "--out", "out", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture
def copy_of_nine(nine, tmp_path):
    shutil.copytree(nine, tmp_path / "out")
    return tmp_path / "out"


def test_sample_writes_exactly_the_images_of_its_seeds(nine):
    assert names(nine) == NINE and names(nine.parent) == ["out"]
    assert all(Image.open(nine / name).size == (16, 16) for name in NINE)
    assert len({(nine / name).read_bytes() for name in NINE}) == 9


def test_the_same_command_gives_the_same_bytes_in_another_folder(command, random_checkpoint, nine, tmp_path):
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
    assert names(tmp_path / "a/b c") == NINE
    for name in NINE:
        assert (tmp_path / "a/b c" / name).read_bytes() == (nine / name).read_bytes()


def test_what_is_there_is_kept_and_what_is_missing_is_made(command, random_checkpoint, copy_of_nine):
    gone = [copy_of_nine / NINE[2], copy_of_nine / NINE[8]]
    before = {name: (copy_of_nine / name).stat().st_mtime_ns for name in NINE}
    pixels = {path.name: Image.open(path).tobytes() for path in gone}
    for path in gone:
        path.unlink()
    arguments = ["--checkpoint", random_checkpoint, "--num-images", 9, "--seed", 7, *FAST, "--out", copy_of_nine]
    done = command("sample", *arguments, "--json", cwd=copy_of_nine.parent)
    assert done.returncode == 0, done.stderr
    assert [os.path.basename(path) for path in json.loads(done.stdout)["files"]] == NINE == names(copy_of_nine)
    for name in NINE:
        if name in pixels:
            again = Image.open(copy_of_nine / name).tobytes()
            assert max(abs(a - b) for a, b in zip(again, pixels[name], strict=True)) <= 4
        else:
            assert (copy_of_nine / name).stat().st_mtime_ns == before[name]


def test_images_of_other_settings_are_not_mixed_in(command, random_checkpoint, copy_of_nine):
    before = {name: (copy_of_nine / name).read_bytes() for name in NINE}
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
        copy_of_nine,
    ]
    done = command("sample", *arguments, cwd=copy_of_nine.parent)
    assert_refused(done, "seed_00000007.png", "other settings")
    assert {name: (copy_of_nine / name).read_bytes() for name in names(copy_of_nine)} == before


def test_a_png_says_how_it_was_made_but_not_when_or_where(nine, random_checkpoint):
    settings = read_settings(nine / NINE[0])
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
    text = Image.open(nine / NINE[0]).text
    assert list(text) == ["diffusion_demo"]
    data = (nine / NINE[0]).read_bytes()
    assert str(random_checkpoint.parent).encode() not in data and str(nine.parent).encode() not in data
    assert b"tIME" not in data and time.strftime("%Y-").encode() not in data


def assert_refused(done, *words):
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].endswith("."), done.stderr
    assert all(word in lines[0] for word in words), lines[0]
    assert done.stdout == ""


@pytest.fixture
def odd_folders(random_checkpoint, tmp_path):
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
def test_sample_refuses_bad_input_with_one_sentence_and_leaves_nothing(
    command, random_checkpoint, odd_folders, arguments, words
):
    before = names(odd_folders)
    defaults = ["--checkpoint", random_checkpoint, "--num-images", "1", *FAST, "--out", "out"]
    assert_refused(command("sample", *defaults, *arguments, cwd=odd_folders), *words)
    assert names(odd_folders) == before and (odd_folders / "file").read_text() == "in the way"


# the same through main() in this process, which spares the seconds that each process takes to load torch
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint", "empty"], "no checkpoint"),
        (["--steps", "0"], "from 1 to 1000 (the timesteps that the model was trained with), not 0"),
        (["--steps", "1001"], "not 1001"),
        (["--steps", "many"], "not many"),
        (["--steps", "ddim300"], "No whole stride over 1000"),
        (["--steps", "up:4"], "'up'"),
        (["--num-images", "0"], "at least 1, not 0"),
        (["--sampler", "euler"], "ddpm, ddim, dpm_solver"),
        (["--eta", "2"], "not 2"),
        (["--seed", "-1"], "not -1"),
        (["--guidance-scale", "-1"], "not -1"),
        (["--precision", "fp8"], "'fp8'"),
        (["--class", "3"], "'3'"),
        (["--out", "file/below"], "file"),
    ],
)
def test_what_a_model_cannot_do_is_refused_in_one_sentence(
    random_checkpoint, odd_folders, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(odd_folders)
    before = names(odd_folders)
    try:
        code = main(
            ["sample", "--checkpoint", str(random_checkpoint), "--num-images", "1", *FAST, "--out", "out", *arguments]
        )
    except SystemExit as left:
        code = left.code
    printed = capsys.readouterr()
    assert code == 2 and words in printed.err and printed.err.endswith(".\n") and printed.err.count("\n") == 1, (
        printed.err
    )
    assert printed.out == "" and names(odd_folders) == before


def test_a_missing_option_and_an_unknown_command_are_refused(command, tmp_path):
    assert_refused(command("sample", "--out", "out", cwd=tmp_path), "--checkpoint")
    assert_refused(command("paint", cwd=tmp_path), "paint")
    assert_refused(command(cwd=tmp_path), "command")
    assert names(tmp_path) == []


def test_every_command_explains_itself(command, tmp_path):
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
def test_without_the_packages_a_sentence_says_how_to_get_them(line):
    done = subprocess.run(
        [sys.executable, "-S", *line], cwd=ROOT, capture_output=True, text=True
    )  # -S: nothing that was installed
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr.count("\n") == 1
        and "is not installed" in done.stderr
        and "pip install -r requirements.txt" in done.stderr
    )


def test_doctor_reports_for_people_and_for_programs(command, tmp_path):
    plain, machine = command("doctor", cwd=tmp_path), command("doctor", "--json", cwd=tmp_path)
    assert plain.returncode == machine.returncode == 0
    report = json.loads(machine.stdout)
    assert {"python", "torch", "diffusers", "accelerate", "gradio", "device", "threads", "checkpoints"} <= set(report)
    assert report["python"] == ".".join(map(str, sys.version_info[:3])) and report["threads"] >= 1
    assert all(name in plain.stdout for name in report)


def test_a_command_that_is_killed_leaves_whole_images_only_and_goes_on_later(
    command, environment, random_checkpoint, nine, tmp_path
):
    arguments = [
        "sample",
        "--checkpoint",
        str(random_checkpoint),
        "--num-images",
        "9",
        "--seed",
        "7",
        *FAST,
        "--out",
        "out",
    ]
    child = subprocess.Popen(
        [sys.executable, "-m", "diffusion_demo", *arguments], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "out").exists() and child.poll() is None:
        time.sleep(0.01)
    child.kill()
    child.wait()
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == NINE
    assert Image.open(tmp_path / "out" / NINE[0]).tobytes() == Image.open(nine / NINE[0]).tobytes()


def test_a_run_folder_stands_for_its_newest_checkpoint(command, trained_run, tmp_path):
    done = command("sample", "--checkpoint", trained_run, "--num-images", 1, *FAST, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_settings(tmp_path / "out" / "seed_00000000.png")["checkpoint"] == "run/step_000012"
