"""What the page allows, read from the environment in this one place: everything on one's own machine, little on a public page."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from diffusion_demo.errors import BadInput

PREFIX = "DIFFUSION_DEMO_"
SESSIONS = 200  # of visits that are remembered; gradio itself would forget none before the ten-thousandth
WORDS = {"on": True, "1": True, "true": True, "yes": True, "off": False, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class Settings:
    """Each field but the last two is set by DIFFUSION_DEMO_ and its name in capitals; the values here are those of one's own machine.

    public: is it served to strangers? anywhere: may paths on this machine and models of the Hub be named? images, steps: of one request.
    minutes: the longest training; runs_at_once; upload_mb: of one request; disk_gb: of all runs, and of all that was uploaded; queue: who may wait.
    calls_a_minute: of one visitor. watch: are runs shown to people who did not start them? idle_minutes: after these a model leaves the memory.
    temporary_minutes: after these what was uploaded or shown, and nobody asked for since, is deleted.
    """

    public: bool = False
    training: bool = True
    anywhere: bool = True
    watch: bool = True
    images: int = 64
    steps: int = 1000
    minutes: int = 240
    runs_at_once: int = 1
    upload_mb: int = 1000
    disk_gb: int = 1_000_000
    queue: int = 64
    calls_a_minute: int = 1_000_000
    idle_minutes: int = 60
    temporary_minutes: int = 1440
    login: tuple[str, str] | None = None
    space: bool = False
    lasts: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings of this environment. Raises BadInput, naming the variable, for a value that makes no sense."""
        space = "SPACE_ID" in environment
        zero_gpu = environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
        public = _switch(environment, "PUBLIC", space)
        usual = cls(**PUBLIC) if public else cls()
        return cls(
            public=public,
            # a process of its own has no GPU there, and the visitor's minutes would not pay for it
            training=_switch(environment, "TRAINING", usual.training) and not zero_gpu,
            anywhere=_switch(environment, "ANYWHERE", usual.anywhere),
            watch=_switch(environment, "WATCH", usual.watch),
            **{name: _number(environment, name.upper(), getattr(usual, name)) for name in NUMBERS},
            login=_login(environment),
            space=space,
            lasts=not space or bool(environment.get(f"{PREFIX}RUNS")),
        )

    @property
    def why_no_training(self) -> str:
        """What is said where training is off."""
        return (
            "Training is switched off on this public page: it would take the machine from everybody else. To train, run the page on your own "
            "machine, or duplicate this Space on hardware of your own and set DIFFUSION_DEMO_TRAINING=on there (not on ZeroGPU, which lends its "
            "GPU by the minute)."
        )


PUBLIC = {
    "public": True,
    "training": False,
    "anywhere": False,
    "images": 16,
    "steps": 100,
    "minutes": 15,
    "upload_mb": 50,
    "disk_gb": 5,
    "queue": 32,
    "calls_a_minute": 240,
    "idle_minutes": 15,
    "temporary_minutes": 60,
}
NUMBERS = (
    "images",
    "steps",
    "minutes",
    "runs_at_once",
    "upload_mb",
    "disk_gb",
    "queue",
    "calls_a_minute",
    "idle_minutes",
    "temporary_minutes",
)


def _switch(environment: Mapping[str, str], name: str, usual: bool) -> bool:
    given = environment.get(PREFIX + name, "").strip().lower()
    if given not in ("", *WORDS):
        raise BadInput(f"{PREFIX}{name} must be on or off, not {given!r}.")
    return WORDS.get(given, usual)


def _number(environment: Mapping[str, str], name: str, usual: int) -> int:
    given = environment.get(PREFIX + name, "").strip()
    if given and not (given.isascii() and given.isdecimal() and 1 <= int(given) <= 1_000_000_000):
        raise BadInput(f"{PREFIX}{name} must be a whole number from 1, not {given!r}.")
    return int(given) if given else usual


def _login(environment: Mapping[str, str]) -> tuple[str, str] | None:
    given = environment.get(f"{PREFIX}LOGIN", "")
    name, _, password = given.partition(":")
    if given and not (name and password):
        raise BadInput(f"{PREFIX}LOGIN must be a name, a colon and a password.")
    return (name, password) if given else None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """This process's settings: read once, when the page is built."""
    return Settings.from_environment(os.environ)
