"""Training with torch.compile, as `accelerate launch --dynamo_backend` asks for it."""

import pytest
import torch
from accelerate.state import AcceleratorState

from diffusion_demo.training.loop import Budget
from tests.training.events import latest_checkpoint, of_type, weights_of


@pytest.fixture
def compiled(monkeypatch, threads):
    """The backend "eager" traces and wraps the network as any other does, and needs no compiler."""
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    threads(1)
    AcceleratorState._reset_state(True)
    yield
    torch.compiler.reset()
    AcceleratorState._reset_state(True)


def test_a_compiled_run_saves_plain_names_and_resumes(compiled, train, run):
    for steps in (1, 2):
        list(train(Budget(max_steps=steps), resume=steps > 1, dropout=0.0))
        names = weights_of(latest_checkpoint(run))
        assert names and not [name for name in names if "_orig_mod" in name]
    assert [event["resumed_from"] for event in of_type(run.path, "start")] == [0, 1]
    assert of_type(run.path, "finished")[-1]["step"] == 2
