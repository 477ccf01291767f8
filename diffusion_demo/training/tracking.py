"""Experiment trackers: a copy of the run's losses, rates and previews in TensorBoard, Trackio or Weights & Biases.

The run folder stays the only source of truth: nothing is read from a tracker, and a failing one only causes a warning.
"""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from accelerate import Accelerator
from PIL import Image

from diffusion_demo.errors import BadInput, first_line
from diffusion_demo.training import events
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.run_folder import RunFolder

PROJECT = "diffusion-demo"
FOLDER = "tensorboard"  # in the run folder
MEASURES = ("loss", "error", "vlb", "grad_norm", "learning_rate", "images_per_second")


def check_installed(name: str | None) -> None:
    """Raise BadInput if the package of a tracker is missing. Accelerate would silently track nothing."""
    if name is not None and importlib.util.find_spec(name) is None:
        raise BadInput(f"{name} is not installed. Run: pip install {name}, or leave out --log-with.", "log_with")


class Tracker:
    """Passes the events of a call on to a tracker, in the main process."""

    def __init__(self, accelerator: Accelerator, config: TrainConfig, run: RunFolder):
        self._accelerator, self._config, self._run = accelerator, config, run
        self._tracker: Any = None
        self._failed = config.log_with is None

    def record(self, event: events.Event) -> events.Warned | None:
        """Pass an event to the tracker. On the first failure, return a warning and ignore all later events."""
        if self._failed:
            return None
        try:
            self._record(event)
        except Exception as error:  # a failing tracker must not end the training
            self._failed = True
            name, reason = self._config.log_with, first_line(error)
            return events.Warned(f"{name} no longer tracks this run ({reason}). Training continues.")
        return None

    def _record(self, event: events.Event) -> None:
        match event:
            case events.Start():
                self._start(event.resumed_from)
            case events.Step():
                values = {f"train/{name}": getattr(event, name) for name in MEASURES}
                self._tracker.log({name: value for name, value in values.items() if value is not None}, event.step)
            case events.HeldOut():
                self._tracker.log({"held_out/loss": event.loss, "held_out/error": event.error}, event.step)
            case events.Preview():
                self._log_image("preview", Image.open(self._run.path / event.path).convert("RGB"), event.step)

    def _start(self, step: int) -> None:
        """Start the tracker, or continue it after this step; what it has of later steps is superseded."""
        name, run = self._config.log_with, self._run.path.name
        continued = "allow" if step else "never"
        options = {
            "tensorboard": {"purge_step": step + 1},
            "trackio": {"name": run, "resume": continued, "embed": False},
            "wandb": {"name": run, "id": run, "resume": "allow"},
        }
        project = FOLDER if name == "tensorboard" else PROJECT
        self._accelerator.init_trackers(project, init_kwargs=options)
        self._tracker = self._accelerator.get_tracker(str(name))
        settings = {key: value for key, value in self._config.model_dump().items() if key not in ("data", "init_from")}
        if name == "tensorboard":  # its hyper-parameters would be another run in its list
            if not step:
                self._tracker.log({"settings": json.dumps(settings, indent=2)}, 0)
        else:
            self._tracker.store_init_configuration(settings)

    def _log_image(self, name: str, image: Image.Image, step: int) -> None:
        if self._config.log_with == "tensorboard":
            import numpy as np

            self._tracker.log_images({name: np.asarray(image)[None]}, step, dataformats="NHWC")
        elif self._config.log_with == "trackio":  # its class in Accelerate has no images
            import trackio  # pyright: ignore[reportMissingImports]

            self._tracker.log({name: trackio.Image(image)}, step)
        else:
            self._tracker.log_images({name: [image]}, step)

    def close(self) -> None:
        """Flush the remaining records."""
        if self._tracker is not None:
            with suppress(Exception):
                self._tracker.finish()


@contextmanager
def tracking(accelerator: Accelerator, config: TrainConfig, run: RunFolder) -> Iterator[Tracker]:
    """Return the tracker of a call, which ends with the block."""
    tracker = Tracker(accelerator, config, run)
    try:
        yield tracker
    finally:
        tracker.close()
