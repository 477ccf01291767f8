"""Configuration of a resumed run."""

from typing import Any

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import MAY_DIFFER, SCHEDULE, TrainConfig
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.state import read_counters


def resumed_config(run: RunFolder, given: dict[str, Any]) -> TrainConfig:
    """Return the config to resume `run` with, where `given` are the settings of the command line.

    The learning-rate schedule is that of the latest checkpoint unless another one is given. A new schedule may change
    only future steps, so that a constant rate can get a final decay. Raises BadInput for any other change of it.
    """
    config = run.read_config()[0]
    latest = run.latest()
    counters: dict[str, Any] = {"step": 0} if latest is None else read_counters(latest / "state")
    config = config.replace(**counters.get("schedule", {}))
    changes = {name: given[name] for name in SCHEDULE if name in given}
    resumed = config.replace(**changes, **{name: given[name] for name in MAY_DIFFER if name in given})
    if changes and not resumed.lr_schedule.agrees_until(config.lr_schedule, counters["step"]):
        raise BadInput(
            f"This learning-rate schedule changes the {counters['step']} steps already taken. Start its decay later.",
            "lr_scheduler",
        )
    return resumed
