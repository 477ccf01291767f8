"""The form of the Train tab: its fields as settings, what they would do, and the start."""

import html
import secrets
from contextlib import suppress

import gradio as gr
from gradio.components import FormComponent

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.training.config import TrainConfig, config_of
from diffusion_demo.training.lr_schedule import LR_SCHEDULERS
from diffusion_demo.training.process import launch, make_arguments
from diffusion_demo.training.run_folder import RunFolder, resolve_init_from
from diffusion_demo.ui.server import limits, model_list, run_ownership, warmup
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import budget, fields, run_list, uploads
from diffusion_demo.ui.train.budget import NEW


def starts() -> list[str]:
    """What can be trained on: every model that is a network, and new ones."""
    return [*(name for _, name in model_list.titles() if name not in ORACLES), *NEW]


class Form:
    """What the fields mean: `start_from`, and the settings by their names; anywhere: may a path or a name on the Hub be trained on?"""

    def __init__(self, start_from: gr.Dropdown, settings: dict[str, FormComponent], anywhere: bool):
        self.names, self.anywhere = list(settings), anywhere
        self.infos = {"start_from": start_from.info} | {name: field.info for name, field in settings.items()}

    def _start(self, start_from: str | None) -> dict:
        """What training begins with, as a setting. Raises BadInput for what cannot be found."""
        if start_from in NEW:
            return {"preset": NEW[start_from]}
        found = model_list.models().get(start_from) if start_from in starts() else None
        if found is None and not (self.anywhere and start_from and start_from.strip()):
            raise BadInput("This model is not there any more; choose one from the list.", "start_from")
        return {"init_from": resolve_init_from(found or start_from.strip())}

    def settings(self, found, start_from: str | None, values: tuple) -> dict:
        """Everything that is not as it would be anyway. Raises BadInput."""
        start = self._start(start_from)
        return {"data": str(found.source)} | start | fields.chosen(start, self.names, values)

    def follow(self, start_from: str | None):
        """What depends on the model: size, color, learning rate, warm-up, and whether the noise can be chosen."""
        new = start_from in NEW
        brought = {name: fields.DEFAULTS[name] for name in ("image_size", "channels", *fields.FINE_TUNING)}
        if not new:
            with suppress(BadInput):  # `check` says it, at the field
                about = load_metadata(self._start(start_from)["init_from"])
                brought |= {"image_size": about.image_size, "channels": about.channels}
            brought |= fields.FINE_TUNING
        values = [gr.update(value=brought[name]) if name in brought else gr.skip() for name in self.names]
        return [start_from, gr.update(visible=new), *values]

    def check(self, wrong: str | None, found, start_from, length, *values):
        """What Start would do, or why it cannot, said at the field that it is about: note, Start, lengths, the wrong field, and all fields."""
        same = [gr.skip()] * len(self.infos)
        if found is None:
            return ["", gr.Button(interactive=False), gr.skip(), wrong, *same]
        warmup.wait()
        try:
            config = self._config(self.settings(found, start_from, values))
            pace = budget.pace(
                start_from if start_from in NEW else config.init_from,
                config.image_size,
                config.channels,
                config.batch_size,
            )
        except BadInput as error:
            problem = f'<p class="problem">{html.escape(str(error))}</p>'
            return [
                problem,
                gr.Button(interactive=False),
                gr.skip(),
                error.field,
                *self._marks(wrong, error.field, str(error)),
            ]
        choice = [
            (f"{words}: about {budget.rounded(pace * 60 * minutes):,} images", words)
            for words, minutes in budget.offered().items()
        ]
        note = (
            f"<p>This machine trains on {pace:.0f} images a second.</p>"
            if pace >= 1
            else f"<p>An image takes {1 / pace:.0f} s here.</p>"
        )
        return [note, gr.Button(interactive=True), gr.Radio(choice), None, *self._marks(wrong, None, "")]

    def _marks(self, before: str | None, now: str | None, problem: str) -> list:
        """An update for every field: the wrong one says what is wrong, the one that was wrong says what it said before."""
        marks = {
            before: gr.update(info=self.infos.get(before) or "", elem_classes=[]),
            now: gr.update(info=problem, elem_classes=["wrong"]),
        }
        return [marks.get(name, gr.skip()) for name in self.infos]

    @staticmethod
    def _config(chosen: dict) -> TrainConfig:
        """Return the config of the chosen settings; a schedule that ends gets its last step at the start, from the length that is chosen then.

        Raises BadInput, also for a training that this page's machine is too small for.
        """
        ends = chosen.get("lr_scheduler", LR_SCHEDULERS[0]) != LR_SCHEDULERS[0]
        config = config_of(chosen | ({"lr_total_steps": 10_000_000} if ends else {}))
        limits.check_training(config)
        return config

    def start(self, held, found, start_from, length, *values):
        """Launch the trainer, unless one is at work. Returns the new run in the list, and a button at rest."""
        limits.check_training_is_on()
        warmup.wait()
        try:
            if found is None:
                raise BadInput("Drop some images first.")
            minutes = budget.minutes_of(length)
            chosen = self.settings(found, start_from, values)
            config = self._config(chosen)
            pace = budget.pace(
                start_from if start_from in NEW else config.init_from,
                config.image_size,
                config.channels,
                config.batch_size,
            )
            if config.lr_schedule.ends:
                chosen["lr_total_steps"] = round(60 * minutes * pace / config.batch_size)
                config_of(chosen)
        except BadInput as error:
            raise gr.Error(str(error), print_exception=False) from error
        steps = budget.steps_between_previews(pace, config.batch_size, minutes)
        with run_list.one_more():
            run = RunFolder(model_list.RUNS / _new_name(found.summary()["source"]))
            run_ownership.claim(run, held)
            launch(run, make_arguments(run, chosen | {"sample_every": steps, "save_every": 2 * steps}, minutes))
        return gr.Dropdown(run_list.names(held), value=run.path.name), gr.Button(interactive=False)


def _new_name(title: str) -> str:
    """A name that no run has: the images' own, numbered; where runs are not shown to others, one that nobody guesses."""
    stem, taken = uploads.safe_name(title.removesuffix(".zip"), "run"), set(run_list.all_names())
    stem += "" if settings().watch else f"-{secrets.token_hex(8)}"
    return next(name for name in (f"{stem}-{i}" for i in range(1, 100_000)) if name not in taken)
