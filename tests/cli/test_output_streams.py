"""A terminal that is lost or limited loses no work."""

import json
import shlex
import subprocess
import sys

from tests.training.events import events_of, latest_checkpoint

PYTHON = f"{shlex.quote(sys.executable)} -m diffusion_demo"


def shell(line, cwd, environment, **variables):
    """Run a line of bash and return what it printed; the last line is the exit code of its first command."""
    script = f"{line}; echo ${{PIPESTATUS[0]}}"
    return subprocess.run(
        ["bash", "-c", script], cwd=cwd, env=environment | variables, capture_output=True, text=True, timeout=300
    )


def test_training_goes_on_when_nobody_reads_its_events(environment, digits, tiny, tmp_path):
    options = shlex.join(["--data", str(digits), "--run", "run", *tiny, "--num-train-timesteps", "100"])
    done = shell(f"{PYTHON} train {options} --max-steps 6 --json | head -1", tmp_path, environment)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["type"] == "start" and code == "0" and "Traceback" not in done.stderr, done.stderr
    assert events_of(tmp_path / "run")[-1] == {"type": "finished", "step": 6, "reason": "max_steps"}
    assert latest_checkpoint(tmp_path / "run").name == "step_000006"


def test_training_goes_on_when_both_streams_are_lost(environment, digits, tiny, tmp_path):
    options = shlex.join(["--data", str(digits), "--run", "run", *tiny, "--num-train-timesteps", "100"])
    done = shell(f"{PYTHON} train {options} --max-steps 6 > /dev/full 2>&1", tmp_path, environment)
    assert done.stdout.split() == ["0"]
    assert events_of(tmp_path / "run")[-1]["type"] == "finished"


def test_names_that_the_code_page_lacks_are_printed_as_escapes(environment, random_checkpoint, tmp_path):
    line = f"{PYTHON} sample --checkpoint {shlex.quote(str(random_checkpoint))} --num-images 1 --steps 1 --out 日本"
    done = shell(line, tmp_path, environment, PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert done.stdout.split()[-1] == "0" and "Traceback" not in done.stderr, done.stderr
    assert len(list((tmp_path / "日本").iterdir())) == 1


def test_a_command_whose_reader_has_gone_ends_without_a_traceback(environment, tmp_path):
    done = shell(f"{PYTHON} doctor > >(exec true)", tmp_path, environment)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
