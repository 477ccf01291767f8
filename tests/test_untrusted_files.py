"""Commands refuse a pipe, a missing file and a file without read permission, each in one sentence."""

import json
import os

import pytest
from PIL import Image

from diffusion_demo.cli import main
from diffusion_demo.errors import BadInput
from diffusion_demo.untrusted_files import check_readable
from tests.conftest import not_as_root

COMMANDS = [
    ("evaluate", "--data", "images", "--samples", "{}.npz"),
    ("evaluate", "--data", "{}.npz", "--samples", "images"),
    ("import", "{}", "--out", "out"),
    ("import", "weights.pt", "--out", "out", "--class-names", "{}"),
    ("train", "--data", "images", "--run", "run", "--max-steps", "1", "--config", "{}"),
    ("export", "--checkpoint", "avatars-32", "--push-to-hub", "me/name", "--license", "mit", "--evaluation", "{}"),
]
each_command = pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments))


def refusal(arguments, folder, monkeypatch, capsys):
    """Return the line that a command prints for the file `x` or `x.npz`, and assert that it writes nothing."""
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main([word.format("x") for word in arguments]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.endswith(".\n") and sorted(folder.rglob("*")) == before
    return line


def file_of(arguments, folder):
    """Return the path of the file that the command is to read, beside a folder of images."""
    (folder / "images").mkdir()
    Image.new("RGB", (16, 16), "red").save(folder / "images" / "red.png")
    return folder / next(word for word in arguments if "{}" in word).format("x")


@each_command
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(arguments, tmp_path, monkeypatch, capsys):
    os.mkfifo(file_of(arguments, tmp_path))
    assert "x" in refusal(arguments, tmp_path, monkeypatch, capsys)


@each_command
def test_a_missing_file_is_named(arguments, tmp_path, monkeypatch, capsys):
    assert file_of(arguments, tmp_path).name in refusal(arguments, tmp_path, monkeypatch, capsys)


@each_command
def test_a_file_that_may_not_be_read_is_not_called_damaged(arguments, open_folder, monkeypatch, capsys):
    file = file_of(arguments, open_folder)
    file.write_text(json.dumps({}))
    file.chmod(0)
    with not_as_root():
        line = refusal(arguments, open_folder, monkeypatch, capsys)
    assert f"{file.name} (Permission denied). Change its permissions.\n" in line


def test_only_a_lack_of_permission_is_reported_as_such(open_folder):
    (open_folder / "link").symlink_to("gone")
    closed = open_folder / "closed"
    closed.mkdir()
    (closed / "file").touch()
    closed.chmod(0)
    try:
        with not_as_root():
            for path in (open_folder / "link", open_folder / "gone", closed / "file"):
                check_readable(path)
            with pytest.raises(BadInput, match=r"closed \(Permission denied\)"):
                check_readable(open_folder)
    finally:
        closed.chmod(0o755)
