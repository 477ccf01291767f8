"""The config of a run that goes on: as it began, except for what may differ from call to call."""

from dataclasses import replace

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import MAY_DIFFER, SCHEDULE, TrainConfig
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.state import read_counters


def resumed_config(run: RunFolder, given: dict) -> TrainConfig:
    """Return the config to resume `run` with, given what the command line says.

    The learning-rate schedule is the one that the latest checkpoint was trained with, unless another is given; a new one may only change steps
    that are still to come, so that a constant rate can be given a final decay. Raises BadInput for any other change of the schedule.
    """
    config = run.read_config()[0]
    latest = run.latest()
    counters = {"step": 0} if latest is None else read_counters(latest / "state")
    config = replace(config, **counters.get("schedule", {}))
    changes = {name: given[name] for name in SCHEDULE if name in given}
    resumed = replace(config, **changes, **{name: given[name] for name in MAY_DIFFER if name in given})
    if changes and not resumed.lr_schedule.agrees_until(config.lr_schedule, counters["step"]):
        raise BadInput(
            f"This schedule differs from the run's within the {counters['step']} steps already taken; start the decay later.",
            "lr_scheduler",
        )
    return resumed
