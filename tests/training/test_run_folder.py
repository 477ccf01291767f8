"""The run folder: checkpoints that are kept, and cleanup after a killed process."""

import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.training.run_folder import KEPT_CHECKPOINTS, RunFolder


def add(run, step):
    return run.add_checkpoint(step, lambda folder: folder.mkdir())


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def test_the_newest_few_checkpoints_are_kept_and_latest_names_the_last(run):
    for step in range(1, KEPT_CHECKPOINTS + 3):
        add(run, step)
    assert len(list(run.checkpoints.glob("step_*"))) == KEPT_CHECKPOINTS
    assert run.latest().name == f"step_{KEPT_CHECKPOINTS + 2:06d}"


def test_a_checkpoint_of_a_lower_step_is_not_dropped_as_soon_as_it_is_written(run):
    for step in (100, 200, 300):
        add(run, step)
    assert add(run, 1).is_dir() and run.latest().name == "step_000001"


def test_where_the_named_checkpoint_is_gone_the_highest_one_counts(run):
    for step in (9, 100):
        add(run, step)
    add(run, 200).rmdir()
    assert run.latest().name == "step_000100"


def test_a_new_call_takes_half_written_checkpoints_away(run):
    add(run, 1)
    (run.checkpoints / ".step_000002.partial" / "unet").mkdir(parents=True)
    run.begin_call()
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["latest", "step_000001"]


def test_control_lines_of_an_earlier_call_are_forgotten_and_half_a_line_waits(run):
    run.control_file.write_text('{"type": "stop"}\n')
    run.begin_call()
    assert run.control() == []
    with run.control_file.open("a") as file:
        file.write('{"type": "save_now"}\n{"type": "sto')
        file.flush()
        assert run.control() == ["save_now"]
        file.write('p"}\n')
    assert run.control() == ["stop"] and run.control() == []


def test_a_file_in_the_place_of_a_run_is_refused(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(BadInput, match="another run folder"), RunFolder(tmp_path / "run").lock():
        pass


def test_a_run_whose_config_is_damaged_is_refused(run):
    run.config_file.write_text("{")
    with pytest.raises(BadInput, match="Start a new run"):
        run.read_config()
