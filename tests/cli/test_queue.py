"""The command `queue`."""

import pytest

from diffusion_demo.cli import main


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Return a function that calls `queue` with a runs folder of its own, and returns the exit code and the output."""
    monkeypatch.setenv("DIFFUSION_DEMO_RUNS", str(tmp_path / "runs"))

    def run(*words):
        code = main(["queue", *map(str, words)])
        output = capsys.readouterr()
        return code, output.out + output.err

    return run


def test_runs_are_added_listed_moved_removed_and_paused(call, digits):
    add = ("--data", digits, "--preset", "tiny", "--image-size", 16)
    assert call("list") == (0, "The queue is empty.\n")
    assert call("add", "--run", "a", *add, "--max-minutes", 5) == (0, " 1 a: 5 min\n")
    assert call("add", "--run", "b", *add, "--max-steps", 5000) == (0, " 1 a: 5 min\n 2 b: 5,000 steps\n")
    assert call("up", "b") == (0, " 1 b: 5,000 steps\n 2 a: 5 min\n")
    assert call("remove", "b") == (0, " 1 a: 5 min\n")
    assert "Paused." in call("pause")[1]
    assert call("run") == (2, "The queue is paused. Start it again with `queue resume`.\n")
    assert call("resume") == (0, " 1 a: 5 min\n")


def test_a_run_that_does_not_start_is_reported_with_the_reason(call, tmp_path):
    (tmp_path / "images").mkdir()
    call("add", "--run", "a", "--data", tmp_path / "images", "--max-minutes", 5)
    code, output = call("run")
    assert code == 0 and "a has ended: No readable images in images. " in output and output.endswith(".\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "--run", "../a", "--data", "x", "--max-minutes", "5"), "not a path"),
        (("add", "--run", ".a", "--data", "x", "--max-minutes", "5"), "not a path"),
        (("add", "--run", "a", "--data", "x"), "This run has no limit"),
        (("add", "--run", "a", "--max-minutes", "5"), "There are no training images"),
        (("add", "--run", "a", "--data", "x", "--max-minutes", "5", "--batch-size", "0"), "Batch size must be"),
        (("add", "--run", "a", "--data", "x", "--max-minutes", "5"), "x. Check the path."),
        (("add", "--run", "a", "--resume", "--max-minutes", "5"), "contains no run to resume"),
        (("remove", "a"), "no run a in the queue"),
        (("up", "a"), "no run a in the queue"),
    ],
)
def test_what_cannot_be_queued_is_refused_in_one_sentence(call, words, message):
    code, output = call(*words)
    assert code == 2 and message in output and output.count("\n") == 1
