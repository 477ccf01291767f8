"""Several sources of training images, on the command line and in the run; and what leaves the machine with a model."""

import json
import shutil
import sys
import zipfile

import pytest

from diffusion_demo.cli import main
from diffusion_demo.data import dataset, scan_cache
from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.paths import without_folders
from diffusion_demo.training import trainer
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.process import readable_options
from diffusion_demo.training.run_folder import RunFolder
from tests.conftest import TINY

SCAN = sys.modules["diffusion_demo.data.scan"]


@pytest.fixture
def sources(digits, tmp_path, monkeypatch):
    """A folder with a space in its name, and a zip file."""
    monkeypatch.setattr(scan_cache, "MIN_AGE_SECONDS", -1)
    folder = tmp_path / "my images"
    shutil.copytree(digits / "one", folder / "one")
    (folder / "broken.png").write_bytes(b"words")
    (folder / "empty.png").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for path in digits.glob("t*/*.png"):
            archive.write(path, path.relative_to(digits))
    return folder, tmp_path / "more.zip"


def test_a_run_on_several_sources_is_resumed_without_another_scan(sources, tmp_path, monkeypatch, capsys):
    folder, archive = sources
    run = RunFolder(tmp_path / "my run")
    data = ["--data", f"file://{str(folder).replace(' ', '%20')}", "--data", f"'{archive}'", "--data", str(folder)]
    assert main(["train", *data, "--run", f'"{run.path}"', "--max-steps", "2", *TINY]) == 0
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert "2 of 62 files cannot be used. 1 (broken.png): The content is not a supported image format." in said
    config, summary, _ = run.read_config()
    assert config.data == (str(folder), str(archive)) and summary["source"] == "my images and more.zip"
    assert summary["classes"] == {"one": 20, "three": 20, "two": 20}

    latest = run.latest()
    assert latest is not None
    card = (latest / "README.md").read_text()
    assert str(tmp_path) not in card + load_metadata(latest).command
    assert "--data 'my images' --data more.zip" in card and "--run 'my run'" in card

    read_entry, read = SCAN._read_entry, []
    monkeypatch.setattr(SCAN, "_read_entry", lambda member, name: read.append(member.label) or read_entry(member, name))
    assert main(["train", "--run", str(run.path), "--resume", "--max-steps", "3"]) == 0
    assert sorted(read) == ["broken.png", "empty.png"], "only what could not be read is tried again"
    latest = run.latest()
    assert latest is not None and str(tmp_path) not in (latest / "README.md").read_text()

    next(folder.glob("one/*.png")).write_bytes(b"changed")
    assert main(["train", "--run", str(run.path), "--resume", "--max-steps", "4"]) == 2
    assert "my images and more.zip or their classes differ" in capsys.readouterr().err


def test_a_second_run_on_the_same_images_neither_scans_nor_decodes_them(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "MIN_CACHED_BYTES", 0)
    first, second, other = (RunFolder(tmp_path / "runs" / name) for name in ("first", "second", "other"))
    shutil.copytree(sources[0] / "one", tmp_path / "elsewhere")
    (tmp_path / "runs" / "damaged").mkdir(parents=True)
    (tmp_path / "runs" / "damaged" / "config.json").write_text("{")

    def train(run, *data):
        options = [word for source in data for word in ("--data", str(source))]
        assert main(["train", *options, "--run", str(run.path), "--max-steps", "1", *TINY]) == 0

    train(first, *sources)
    train(other, tmp_path / "elsewhere")
    read_entry, read = SCAN._read_entry, []
    monkeypatch.setattr(SCAN, "_read_entry", lambda member, name: read.append(member.label) or read_entry(member, name))
    monkeypatch.setattr(dataset, "decode", lambda *_: pytest.fail("was decoded again"))
    train(second, *sources)
    assert sorted(read) == ["broken.png", "empty.png"]
    assert (second.cache / "training.npy").samefile(first.cache / "training.npy")
    assert second.scan_cache.read_bytes() == first.scan_cache.read_bytes()


def test_a_run_that_cannot_start_leaves_no_scan(sources, tmp_path):
    settings = ["--run", str(tmp_path / "run"), "--max-steps", "1", "--task", "classifier", *TINY]
    shutil.copytree(sources[0] / "one", tmp_path / "flat")
    assert main(["train", "--data", str(tmp_path / "flat"), *settings]) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("other", ["missing", "notes.txt"])
def test_each_of_several_sources_must_be_there(sources, other, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("words")
    data = ["--data", str(sources[0]), "--data", str(tmp_path / other)]
    assert main(["train", *data, "--run", str(tmp_path / "run"), "--max-steps", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and other in error and not (tmp_path / "run").exists()


def test_several_sources_of_a_config_file_are_those_of_the_options():
    settings = {"data": ["/a", "/b"], "flip": False}
    assert TrainConfig.from_json(settings).data == ("/a", "/b")
    assert json.loads(json.dumps(TrainConfig(**settings).model_dump()))["data"] == ["/a", "/b"]
    assert readable_options(settings) == ["--data", "/a", "--data", "/b", "--no-flip"]
    for wrong in ([1], {"a": 1}, 5, None):
        with pytest.raises(BadInput, match="Data"):
            TrainConfig(data=wrong)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("train --data /home/me/my-cats --run runs/a/b --max-steps 5", "train --data my-cats --run b --max-steps 5"),
        ("train --data='/home/me/my cats/'", "train '--data=my cats'"),
        ("train --config ~/private/settings.json", "train --config settings.json"),
        ("train --data file:///home/me/my%20cats", "train --data 'my cats'"),
        (r"train --data 'C:\Users\me\cats'", "train --data cats"),
        ("train --init-from google/ddpm-cat-256", "train --init-from google/ddpm-cat-256"),
        ("train --init-from avatars-32", "train --init-from avatars-32"),
        ("train --init-from ../other/checkpoint", "train --init-from checkpoint"),
        ("import /home/me/model.pt --out models/adm", "import model.pt --out adm"),
        ("train --background=#ffffff --ema-decays 0.9,0.99", "train '--background=#ffffff' --ema-decays 0.9,0.99"),
        ("train --init-from https://huggingface.co/google/x", "train --init-from https://huggingface.co/google/x"),
        ("", ""),
        ("train --data 'an open quote", "train --data 'an open quote"),
    ],
)
def test_a_command_in_a_card_names_no_folders(command, expected):
    assert without_folders(command) == expected


@pytest.mark.parametrize("spelling", ["'{}'", '"{}"', " {} ", "file://{}"])
def test_an_output_folder_is_understood_as_pasted(spelling, random_checkpoint, tmp_path):
    out = tmp_path / "my out"
    text = spelling.format(str(out).replace(" ", "%20") if "file" in spelling else out)
    sample = ["sample", "--checkpoint", str(random_checkpoint), "--num-images", "1", "--steps", "2", "--seed", "1"]
    assert main([*sample, "--precision", "fp32", "--out", text]) == 0
    assert [path.name for path in out.iterdir()] == ["seed_00000001.png"]


def test_an_output_folder_may_lie_in_the_home_folder(random_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["export", "--checkpoint", str(random_checkpoint), "--out", "~/exported"]) == 0
    assert (tmp_path / "exported" / "model_index.json").is_file()
