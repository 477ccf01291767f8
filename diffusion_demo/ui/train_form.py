"""The form of the Train tab: its fields as settings, what they would do, and the start."""

import html
import math
import threading
from contextlib import suppress
from functools import lru_cache

import gradio as gr
from gradio.components import FormComponent

from diffusion_demo.errors import BadInput
from diffusion_demo.models.description import ORACLES, describe
from diffusion_demo.training.config import TrainConfig, config_of
from diffusion_demo.training.launch import arguments_of, launch
from diffusion_demo.training.run import RunFolder, start_of
from diffusion_demo.ui import choices, run_list, train_settings, uploads, warmup

NEW = {"a new tiny network": "tiny", "a new small network": "small", "a new medium network, for a GPU": "medium"}
LENGTHS = {"A first look, 3 minutes": 3, "A quarter of an hour": 15, "An hour": 60, "An evening, 4 hours": 240}


def starts() -> list[str]:
    """What can be trained on: every model that is a network, and new ones."""
    return [*(name for name in choices.models() if name not in ORACLES), *NEW]


class Form:
    """What the fields mean: `start_from`, and the settings by their names; anywhere: may a path or a name on the Hub be trained on?"""

    def __init__(self, start_from: gr.Dropdown, settings: dict[str, FormComponent], anywhere: bool):
        self.names, self.anywhere = list(settings), anywhere
        self.infos = {"start_from": start_from.info} | {name: field.info for name, field in settings.items()}

    def _start(self, start_from: str | None) -> dict:
        """What training begins with, as a setting. Raises BadInput for what cannot be found."""
        if start_from in NEW:
            return {"preset": NEW[start_from]}
        found = choices.models().get(start_from)
        if found is None and not (self.anywhere and start_from and start_from.strip()):
            raise BadInput("This model is not there any more; choose one from the list.", "start_from")
        return {"init_from": start_of(found or start_from.strip())}

    def settings(self, found, start_from: str | None, values: tuple) -> dict:
        """Everything that is not as it would be anyway. Raises BadInput."""
        start = self._start(start_from)
        return {"data": str(found.source)} | start | train_settings.chosen(start, self.names, values)

    def follow(self, start_from: str | None):
        """What depends on the model: size, colour, learning rate, warm-up, and whether the noise can be chosen."""
        new = start_from in NEW
        brought = {name: train_settings.DEFAULTS[name] for name in ("image_size", "channels", *train_settings.FINE_TUNING)}
        if not new:
            with suppress(BadInput):  # `check` says it, at the field
                about = describe(self._start(start_from)["init_from"])
                brought |= {"image_size": about.image_size, "channels": about.channels}
            brought |= train_settings.FINE_TUNING
        values = [gr.update(value=brought[name]) if name in brought else gr.skip() for name in self.names]
        return [start_from, gr.update(visible=new), *values]

    def check(self, wrong: str | None, found, start_from, length, *values):
        """What Start would do, or why it cannot, said at the field that it is about: note, Start, lengths, the wrong field, and all fields."""
        same = [gr.skip()] * len(self.infos)
        if found is None:
            return ["", gr.Button(interactive=False), gr.skip(), wrong, *same]
        warmup.wait()
        try:
            config = config_of(self.settings(found, start_from, values))
            pace = _pace(start_from if start_from in NEW else config.init_from, config.image_size, config.channels, config.batch_size)
        except BadInput as error:
            problem = f'<p class="problem">{html.escape(str(error))}</p>'
            return [problem, gr.Button(interactive=False), gr.skip(), error.field, *self._marks(wrong, error.field, str(error))]
        lengths = [(f"{words}: about {_rounded(pace * 60 * minutes):,} pictures", words) for words, minutes in LENGTHS.items()]
        note = f"<p>This machine trains on {pace:.0f} pictures a second.</p>" if pace >= 1 else f"<p>A picture takes {1 / pace:.0f} s here.</p>"
        return [note, gr.Button(interactive=True), gr.Radio(lengths), None, *self._marks(wrong, None, "")]

    def _marks(self, before: str | None, now: str | None, problem: str) -> list:
        """An update for every field: the wrong one says what is wrong, the one that was wrong says what it said before."""
        marks = {before: gr.update(info=self.infos.get(before) or "", elem_classes=[]), now: gr.update(info=problem, elem_classes=["wrong"])}
        return [marks.get(name, gr.skip()) for name in self.infos]

    def start(self, found, start_from, length, *values):
        """Launch the trainer, unless one is at work. Returns the new run in the list, and a button at rest."""
        warmup.wait()
        try:
            if found is None:
                raise BadInput("Drop some pictures first.")
            settings = self.settings(found, start_from, values)
            config = config_of(settings)
        except BadInput as error:
            raise gr.Error(str(error), print_exception=False) from error
        run_list.refuse_a_second()
        minutes = LENGTHS[length]
        pace = _pace(start_from if start_from in NEW else config.init_from, config.image_size, config.channels, config.batch_size)
        steps = _steps_between_previews(pace, config.batch_size, minutes)
        run = RunFolder(choices.RUNS / _new_name(found.summary()["source"]))
        launch(run, arguments_of(run, settings | {"sample_every": steps, "save_every": 2 * steps}, minutes))
        return gr.Dropdown(run_list.names(), value=run.path.name), gr.Button(interactive=False)


_one_at_a_time = threading.Lock()


def _pace(start: str, size: int, channels: int, batch_size: int) -> float:
    """Pictures a second that this machine trains on, timed once for each choice, and never two at a time."""
    with _one_at_a_time:
        return _timed(start, size, channels, batch_size)


@lru_cache(maxsize=64)
def _timed(start: str, size: int, channels: int, batch_size: int) -> float:
    from diffusion_demo.diffusion.process import Diffusion
    from diffusion_demo.diffusion.schedules import named_betas
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.unet import build_unet
    from diffusion_demo.training.pace import images_per_second
    from diffusion_demo.training.start import fitted

    if start in NEW:
        chain = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type="learned_range")
        return images_per_second(build_unet(NEW[start], size, channels, learns_variance=True, num_classes=0), chain, batch_size)
    source = load_checkpoint(start)
    config = TrainConfig("", image_size=size, channels=channels)
    return images_per_second(fitted(source, config, source.description.class_names).unet, source.diffusion, batch_size)


def _rounded(count: float) -> int:
    """To two digits: no more are known."""
    digits = max(0, math.floor(math.log10(max(count, 1))) - 1)
    return round(count / 10**digits) * 10**digits


def _steps_between_previews(pace: float, batch_size: int, minutes: int) -> int:
    """As many steps as pass in a twelfth of the time, and no fewer than half a minute's."""
    return max(20, math.ceil(max(30, 60 * minutes / 12) * pace / batch_size))


def _new_name(title: str) -> str:
    """A name that no run has: the pictures' own, numbered."""
    stem, taken = uploads.safe_name(title.removesuffix(".zip"), "run"), set(run_list.names())
    return next(name for name in (f"{stem}-{i}" for i in range(1, 100_000)) if name not in taken)
