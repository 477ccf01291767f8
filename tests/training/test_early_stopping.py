"""Early stopping: when a run ends, and that a resumed one ends at the same step."""

import pytest

from diffusion_demo.training.early_stopping import EarlyStopping
from diffusion_demo.training.loop import Budget
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.trainer import Trainer
from tests.training.events import latest_checkpoint, weights_of

LOSSES = {2: 5.0, 4: 3.0, 6: 4.0, 7: 2.0, 8: 3.5, 10: 1.0}


def test_evaluations_without_improvement_are_counted_between_the_regular_steps_only():
    stopping = EarlyStopping(patience=2, save_every=2)
    due = []
    for step, loss in LOSSES.items():
        stopping.add(step, loss)
        due += [step] if stopping.is_due else []
    assert due == [8] and stopping.best == 1.0 and stopping.best_step == 10
    off = EarlyStopping(patience=0, save_every=2)
    for step in range(0, 100, 2):
        off.add(step, float(step))
    assert not off.is_due


@pytest.fixture
def known_losses(monkeypatch):
    """The held-out losses are those of LOSSES."""
    measure = Trainer._measure_held_out

    def known(self):
        object.__setattr__(event := measure(self), "loss", LOSSES.get(event.step, 9.0))
        return event

    monkeypatch.setattr(Trainer, "_measure_held_out", known)


def test_a_run_ends_after_its_patience_and_an_interrupted_one_at_the_same_step(train, run, known_losses, tmp_path):
    settings = {"save_every": 2, "early_stopping_patience": 2}
    list(train(Budget(max_steps=50), **settings))
    assert run.events()[-1] == {"type": "finished", "step": 8, "reason": "early_stopped"}
    best = run.best()
    assert best is not None and best.name == "step_000004"

    other = RunFolder(tmp_path / "interrupted")
    list(train(Budget(max_steps=7), run=other, **settings))  # the loss of step 7, the best one, must not count
    list(train(Budget(max_steps=50), run=other, resume=True, **settings))
    assert other.events()[-1] == {"type": "finished", "step": 8, "reason": "early_stopped"}
    ours, theirs = (weights_of(latest_checkpoint(one)) for one in (run, other))
    assert ours.keys() == theirs.keys() and all((ours[name] == theirs[name]).all() for name in ours)

    list(train(Budget(max_steps=50), resume=True, **settings))
    assert run.events()[-1]["step"] == 14, "a run that is continued has its whole patience again"


def test_without_held_out_images_early_stopping_warns_and_is_off(train, run, digits, tmp_path):
    (tmp_path / "few").mkdir()
    for i, path in enumerate(sorted(digits.rglob("*.png"))[:10]):
        (tmp_path / "few" / f"{i}.png").write_bytes(path.read_bytes())
    list(train(Budget(max_steps=5), data=str(tmp_path / "few"), save_every=1, early_stopping_patience=1))
    assert run.events()[-1]["reason"] == "max_steps"
    assert any("Early stopping is off" in event.get("message", "") for event in run.events())
