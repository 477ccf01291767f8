"""Learning-rate schedules: closed form, comparison with diffusers, and resumed runs."""

import pytest
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup

from diffusion_demo.errors import BadInput
from diffusion_demo.training.lr_schedule import LRSchedule
from tests.training.events import assert_refused, of_type, weights_of


def test_the_warm_up_climbs_in_equal_parts_and_then_the_rate_is_constant():
    schedule = LRSchedule("constant_with_warmup", warmup_steps=4)
    assert [schedule.factor(step) for step in range(1, 7)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert LRSchedule().factor(1) == 1


def test_cosine_is_that_of_diffusers_after_the_warm_up():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=5, num_training_steps=40)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    ours = LRSchedule("cosine", warmup_steps=5, lr_total_steps=40)
    assert [ours.factor(step) for step in range(6, 41)] == pytest.approx(rates[5:], abs=1e-12)


def test_the_final_decay_falls_as_one_minus_the_root_of_its_progress():
    schedule = LRSchedule("warmup_stable_decay", warmup_steps=2, lr_total_steps=12, lr_decay_steps=4)
    assert [schedule.factor(step) for step in range(3, 9)] == [1] * 6
    assert [schedule.factor(step) for step in range(9, 13)] == pytest.approx([1, 0.5, 1 - 0.5**0.5, 1 - 0.75**0.5])


def test_a_fifth_of_the_steps_after_the_warm_up_is_the_usual_decay():
    assert LRSchedule("warmup_stable_decay", 10, 110).decay_start == 90


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"lr_scheduler": "linear"}, "lr_scheduler"),
        ({"lr_scheduler": "cosine"}, "lr_total_steps"),
        ({"lr_scheduler": "cosine", "lr_total_steps": 10, "warmup_steps": 10}, "lr_total_steps"),
        ({"lr_scheduler": "cosine", "lr_total_steps": 10, "lr_decay_steps": 2}, "lr_decay_steps"),
        (
            {"lr_scheduler": "warmup_stable_decay", "lr_total_steps": 10, "warmup_steps": 5, "lr_decay_steps": 6},
            "lr_decay_steps",
        ),
        ({"lr_scheduler": "warmup_stable_decay", "lr_total_steps": 10, "lr_decay_steps": 0}, "lr_decay_steps"),
        ({"lr_total_steps": 10}, "lr_total_steps"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_at_their_field(settings, field):
    with pytest.raises(BadInput) as refused:
        LRSchedule(**settings)
    assert refused.value.field == field


def run_in_calls(command, folder, name, common, calls):
    for i, options in enumerate(calls):
        done = command("train", "--run", name, *common, *options, *(["--resume"] if i else []), cwd=folder)
        assert done.returncode == 0, done.stderr


COSINE = ["--lr-scheduler", "cosine", "--lr-total-steps", 8]
DECAY = ["--lr-scheduler", "warmup_stable_decay", "--lr-total-steps", 8, "--lr-decay-steps", 3]


@pytest.mark.parametrize(
    ("straight", "calls"),
    [
        ([*COSINE], [[*COSINE, "--max-steps", 5], []]),
        ([*DECAY], [[*DECAY, "--max-steps", 6], ["--max-steps", 8]]),
        ([*DECAY], [["--max-steps", 4], [*DECAY, "--max-steps", 6], ["--max-minutes", 5]]),
    ],
    ids=["cosine", "warmup_stable_decay", "a decay that was added later"],
)
def test_a_resumed_run_follows_its_schedule_and_ends_with_the_weights_of_one_that_never_stopped(
    command, digits, tiny, tmp_path, straight, calls
):
    common = ["--data", digits, *tiny, "--save-every", 100, "--sample-every", 100]
    run_in_calls(command, tmp_path, "straight", common, [straight])
    run_in_calls(command, tmp_path, "halves", common, calls)
    one, two = (weights_of(tmp_path / run / "checkpoints" / "step_000008") for run in ("straight", "halves"))
    assert one.keys() == two.keys() and not [name for name in one if not torch.equal(one[name], two[name])]
    last = of_type(tmp_path / "halves", "step")[-1]
    assert last["step"] == 8 and last["learning_rate"] < 5e-4 / 2  # the run ended with its schedule


def test_a_run_that_nothing_ends_is_refused_with_the_options_that_would(command, digits, tiny, tmp_path):
    common = ["--data", digits, *tiny, "--run", "run"]
    assert_refused(command("train", *common, cwd=tmp_path), "--max-steps", "--max-minutes", "--lr-total-steps")
    assert not (tmp_path / "run").exists()
    assert command("train", *common, "--max-steps", 2, cwd=tmp_path).returncode == 0
    assert_refused(command("train", *common, "--resume", cwd=tmp_path), "--max-steps")


def test_a_schedule_that_would_change_steps_already_taken_is_refused(command, digits, tiny, tmp_path):
    common = ["--data", digits, *tiny, "--run", "run"]
    assert command("train", *common, "--max-steps", 6, cwd=tmp_path).returncode == 0
    done = command("train", *common, "--resume", *COSINE, "--max-steps", 8, cwd=tmp_path)
    assert_refused(done, "already taken")
