"""Settings of the page, read from the environment: permissive on a local machine, restrictive on a public server."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from diffusion_demo.errors import BadInput

PREFIX = "DIFFUSION_DEMO_"
MAX_SESSIONS = 200  # Gradio's default of 10,000 sessions would keep too much memory
SWITCH_VALUES = {
    "on": True,
    "1": True,
    "true": True,
    "yes": True,
    "off": False,
    "0": False,
    "false": False,
    "no": False,
}


@dataclass(frozen=True)
class Settings:
    """Limits and permissions of the page. The defaults are those of a local machine.

    All fields except `space` and `lasts` can be set with the environment variable DIFFUSION_DEMO_<NAME>.

    Attributes:
        public: The page is served to strangers.
        training: Visitors may train models.
        anywhere: Visitors may enter paths on this machine and names of models on the Hub.
        watch: Visitors may see the runs of other visitors.
        images: Maximum number of images per request.
        steps: Maximum number of sampling steps per request.
        minutes: Maximum duration of a training run, in minutes.
        runs_at_once: Maximum number of concurrent training runs.
        upload_mb: Maximum size of an upload, in MB.
        disk_gb: Maximum size of all runs, and of all temporary files, in GB each.
        queue: Maximum number of waiting requests.
        calls_a_minute: Maximum number of calls per minute and session.
        idle_minutes: Minutes without use after which a model is unloaded.
        temporary_minutes: Minutes without use after which a temporary file is deleted.
        login: User name and password, or None if no login is required.
        proxy: A proxy in front of the page sets X-Forwarded-Host, which is ignored otherwise.
        hf_login: Visitors must log in with Hugging Face.
        mcp: Programs may use the page as an MCP server.
        space: The page runs on a Hugging Face Space.
        lasts: Runs survive a restart of the server.
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
    proxy: bool = False
    hf_login: bool = False
    mcp: bool = False
    space: bool = False
    lasts: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings of this environment. Raises BadInput, naming the variable, for an invalid value."""
        space = "SPACE_ID" in environment
        zero_gpu = environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
        public = _parse_switch(environment, "PUBLIC", space)
        defaults = cls(**PUBLIC_DEFAULTS) if public else cls()
        callers: dict[str, Any] = {"LOGIN": _parse_login(environment)}
        callers |= {name: _parse_switch(environment, name, False) for name in ("HF_LOGIN", "MCP")}
        _check_callers(callers)
        return cls(
            public=public,
            # ZeroGPU lends its GPU to decorated calls only, so a trainer subprocess would have none.
            training=_parse_switch(environment, "TRAINING", defaults.training) and not zero_gpu,
            anywhere=_parse_switch(environment, "ANYWHERE", defaults.anywhere),
            watch=_parse_switch(environment, "WATCH", defaults.watch),
            **{name: _parse_integer(environment, name.upper(), getattr(defaults, name)) for name in INTEGER_FIELDS},
            login=callers["LOGIN"],
            proxy=_parse_switch(environment, "PROXY", False),
            hf_login=callers["HF_LOGIN"],
            mcp=callers["MCP"],
            space=space,
            lasts=not space or bool(environment.get(f"{PREFIX}RUNS")),
        )

    @property
    def why_no_training(self) -> str:
        """The message shown where training is off."""
        return (
            "Training is off on this public page because it would slow down the page for everyone. To train, run the "
            "app on your own computer, or duplicate this Space on your own hardware and set DIFFUSION_DEMO_TRAINING=on "
            "(ZeroGPU cannot train)."
        )


PUBLIC_DEFAULTS = {
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
INTEGER_FIELDS = (
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


def _parse_switch(environment: Mapping[str, str], name: str, default: bool) -> bool:
    value = environment.get(PREFIX + name, "").strip().lower()
    if value not in ("", *SWITCH_VALUES):
        raise BadInput(f"{PREFIX}{name} must be on or off, not {value!r}.")
    return SWITCH_VALUES.get(value, default)


def _parse_integer(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(PREFIX + name, "").strip()
    if value and not (value.isascii() and value.isdecimal() and len(value) <= 10 and 1 <= int(value) <= 1_000_000_000):
        raise BadInput(f"{PREFIX}{name} must be an integer from 1 to 1000000000, not {value[:20]!r}.")
    return int(value) if value else default


def _parse_login(environment: Mapping[str, str]) -> tuple[str, str] | None:
    value = environment.get(f"{PREFIX}LOGIN", "")
    name, _, password = value.partition(":")
    if value and not (name and password):
        raise BadInput(f"{PREFIX}LOGIN must have the form name:password.")
    return (name, password) if value else None


def _check_callers(callers: Mapping[str, Any]) -> None:
    """Raise BadInput for two logins, and for a login with the MCP server, which would call the page without it."""
    if len(on := [PREFIX + name for name, value in callers.items() if value]) > 1:
        raise BadInput(f"{' and '.join(on)} cannot be combined. Set only one of them.")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process. The environment is read once."""
    return Settings.from_environment(os.environ)
