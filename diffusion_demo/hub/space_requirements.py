"""requirements.txt of a Space: the dependencies of this package, with the exact versions that ZeroGPU asks for."""

import importlib.metadata
import re

from diffusion_demo.paths import CHECKOUT

# torch 2.x that ZeroGPU runs (hub-docs, August 2026); any other version is a configuration error of the Space.
ZERO_GPU_TORCH = ("2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0")
TORCH = "2.13.0"  # of the Space: in that list, in the range of this package, and the version that the tests run with
PYTHON = "3.12.12"  # ZeroGPU has this one and 3.10.13, which is too old for diffusers


def requirements() -> list[str]:
    """Return the dependencies of this package, as pip reads them."""
    if CHECKOUT is not None:
        lines = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.startswith("#")]
    listed = importlib.metadata.requires("diffusion-demo") or []
    return [line for line in listed if "extra ==" not in line]


def gradio_version() -> str:
    """Return the version of gradio that this package requires, which is the version of the Space's SDK."""
    return next(line.partition("==")[2] for line in requirements() if line.startswith("gradio=="))


def requirements_of_space() -> str:
    """Return the requirements.txt of the Space: without gradio, which its SDK brings, and with the exact torch."""
    lines = [line for line in requirements() if _name_of(line) not in ("gradio", "torch")]
    return "\n".join([f"torch=={TORCH}", *lines, ""])


def _name_of(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement)[0]
