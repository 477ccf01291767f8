"""Form of the Train tab: validation of its fields, and the start of a training run."""

import html
import secrets
from contextlib import suppress
from typing import Any

import gradio as gr
from gradio.components import Component

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.training.config import FINE_TUNING, TrainConfig, config_with_inherited
from diffusion_demo.training.lr_schedule import LR_SCHEDULERS
from diffusion_demo.training.run_folder import resolve_init_from
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.server import limits, model_list, warmup
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, expectations, fields, run_list, run_queue, run_rows, uploads
from diffusion_demo.ui.train.budget import NEW_NETWORK_TITLES, NEW_NETWORKS

# The recommended time trains on so many times the images after which previews begin to resemble the training images.
RECOMMENDED_TIMES = 5
NO_IMAGES_NOTE = "<p>Add images in step 1 first.</p>"


def initial_choices() -> list[tuple[str, str]]:
    """Return (title, name) of what training can start from: all networks of the model list, then new networks."""
    trained = [(title, name) for title, name in model_list.model_choices() if name not in ORACLES]
    return trained + [(title, name) for name, title in NEW_NETWORK_TITLES.items()]


def initial_models() -> list[str]:
    """Return the names of `initial_choices`."""
    return [name for _, name in initial_choices()]


class TrainForm:
    """Handlers of the form.

    Args:
        start_from: The field of the initial model.
        settings_fields: The fields of TrainConfig's settings, by name.
        anywhere: Whether `start_from` may be a path or a model on the Hub.
    """

    def __init__(self, start_from: gr.Dropdown, settings_fields: dict[str, Component], anywhere: bool):
        self.names, self.anywhere = list(settings_fields), anywhere
        infos = {name: getattr(field, "info", None) for name, field in settings_fields.items()}
        self.infos = {"start_from": start_from.info} | infos

    def settings(self, report: Any, start_from: str | None, values: tuple) -> dict[str, Any]:
        """Return the settings that differ from their defaults. Raises BadInput."""
        initial = self._initial_settings(start_from)
        source = report.source
        paths = [str(path) for path in source] if isinstance(source, tuple) else str(source)
        return {"data": paths} | initial | fields.changed_settings(initial, self.names, values)

    def _initial_settings(self, start_from: str | None) -> dict[str, Any]:
        """Return the setting of the initial model. Raises BadInput if there is no such model."""
        if start_from in NEW_NETWORKS:
            return {"preset": NEW_NETWORKS[start_from]}
        folder = model_list.model_folders().get(start_from) if start_from and start_from in initial_models() else None
        if folder is not None:
            return {"init_from": resolve_init_from(folder)}
        if self.anywhere and start_from and start_from.strip():
            return {"init_from": resolve_init_from(start_from.strip())}
        raise BadInput(model_list.MODEL_NOT_FOUND, "start_from")

    def follow(self, start_from: str | None) -> list:
        """Set the fields that depend on the initial model: size, channels, learning rate, warm-up and noise schedule.

        Returns `start_from`, the column of the noise schedule, and all fields.
        """
        is_new = start_from in NEW_NETWORKS
        values = {name: fields.DEFAULTS[name] for name in ("image_size", "channels", *FINE_TUNING)}
        if not is_new:
            with suppress(BadInput):  # `check` reports it at the field
                metadata = load_metadata(self._initial_settings(start_from)["init_from"])
                values |= {"image_size": metadata.image_size, "channels": metadata.channels}
            values |= FINE_TUNING
        updates = [gr.update(value=values[name]) if name in values else gr.skip() for name in self.names]
        return [start_from, gr.update(visible=is_new), *updates]

    def check(
        self, invalid_field: str | None, report: Any, start_from: str | None, duration: str | None, *values: Any
    ) -> list:
        """Validate the form. An error is shown in a note and at its field.

        Returns the note, the Start button, the durations, the name of the invalid field, and all fields.
        """
        if report is None:
            skipped = [gr.skip()] * len(self.infos)
            return [NO_IMAGES_NOTE, gr.Button(interactive=False), gr.skip(), invalid_field, *skipped]
        warmup.wait()
        try:
            config = _make_config(self.settings(report, start_from, values))
            speed = _measure_speed(start_from, config)
        except BadInput as error:
            note = f'<p class="problem">{html.escape(str(error))}</p>'
            marks = self._mark_fields(invalid_field, error.field, str(error))
            return [note, gr.Button(interactive=False), gr.skip(), error.field, *marks]
        marks = self._mark_fields(invalid_field, None, "")
        num_training = sum(not entry.held_out for entry in report.entries)
        needed = RECOMMENDED_TIMES * expectations.images_needed(config.init_from is None)
        durations = gr.Radio(budget.duration_choices(speed, num_training, needed))
        return [_speed_note(speed), gr.Button(interactive=True), durations, None, *marks]

    def _mark_fields(self, old: str | None, new: str | None, message: str) -> list:
        """Return updates of all fields: the invalid field `new` shows the message, and `old` its own text again."""
        updates = {
            old: gr.update(info=(self.infos.get(old) if old else None) or "", elem_classes=[]),
            new: gr.update(info=message, elem_classes=["wrong"]),
        }
        return [updates.get(name, gr.skip()) for name in self.infos]

    def start(
        self, owner_token: object, report: Any, start_from: str | None, duration: str | None, *values: Any
    ) -> tuple[gr.Dropdown, gr.Button]:
        """Queue a training run, which starts at once if no other is trained.

        Returns the list of runs, with the new one selected unless it has to wait, and the Start button. Raises gr.Error
        if the form is invalid or the queue takes no further run.
        """
        limits.check_training_enabled()
        warmup.wait()
        with user_errors_as_toasts():
            if report is None:
                raise BadInput("No images to train on. Drop some images first.")
            minutes = budget.parse_duration(duration)
            chosen = self.settings(report, start_from, values)
            config = _make_config(chosen)
            speed = _measure_speed(start_from, config)
            if config.lr_schedule.ends:
                chosen["lr_total_steps"] = round(60 * minutes * speed / config.batch_size)
                config_with_inherited(chosen)
        steps = budget.steps_between_previews(speed, config.batch_size, minutes)
        # Early stopping looks at the held-out loss of each checkpoint, so long runs save one with each preview.
        saves = steps if minutes >= budget.LONG_MINUTES else 2 * steps
        name = _unused_name(report.summary()["source"])
        chosen |= {"sample_every": steps, "save_every": saves}
        waits = run_rows.is_busy(run_rows.rows(owner_token))
        run_queue.add_new(name, chosen, minutes, owner_token)
        names, button = run_list.visible_names(owner_token), gr.Button(interactive=True)
        if not waits:
            return gr.Dropdown(names, value=name), button
        gr.Info(f"{name} was added to the queue. The list of runs shows its position.")
        return gr.Dropdown(names), button


def _make_config(chosen: dict[str, Any]) -> TrainConfig:
    """Return the validated config of these settings. Raises BadInput, also if it exceeds the limits of a public page.

    A schedule with an end gets a placeholder for its last step, which `start` computes from the duration.
    """
    ends = chosen.get("lr_scheduler", LR_SCHEDULERS[0]) != LR_SCHEDULERS[0]
    config = config_with_inherited(chosen | ({"lr_total_steps": 10_000_000} if ends else {}))
    limits.check_training(config)
    return config


def _measure_speed(start_from: str | None, config: TrainConfig) -> float:
    """Return the training speed of this config, in images per second."""
    initial = start_from if start_from in NEW_NETWORKS else config.init_from
    assert initial is not None, "a config without a preset has init_from"
    return budget.measure_speed(initial, config.image_size, config.channels, config.batch_size)


def patience_of(duration: str | None) -> int:
    """Return the early stopping patience of a duration: 0 in short runs, which end before it could act."""
    with suppress(BadInput):
        return budget.PATIENCE if budget.parse_duration(duration) >= budget.LONG_MINUTES else 0
    return 0


def _speed_note(speed: float) -> str:
    if speed >= 1:
        return f"<p>Training speed: about {speed:.0f} images/s.</p>"
    return f"<p>Training speed: about {1 / speed:.0f} s per image.</p>"


def _unused_name(title: str) -> str:
    """Return a name for a new run: the name of the images and a number, with a random part if runs are private."""
    taken = {path.name for path in model_list.RUNS.glob("*")}
    stem = uploads.safe_name(title.removesuffix(".zip"), "run")
    stem += "" if settings().watch else f"-{secrets.token_hex(8)}"
    return next(name for name in (f"{stem}-{i}" for i in range(1, 100_000)) if name not in taken)
