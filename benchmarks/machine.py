"""The machine and the versions that figures belong to."""

import os
import platform
from importlib import metadata
from pathlib import Path

import psutil
import torch

from diffusion_demo import __version__
from diffusion_demo.runtime.device import best_device, resolve_precision

PACKAGES = ("torch", "diffusers", "accelerate", "gradio", "denoising-diffusion-pytorch")


def machine() -> str:
    """One sentence: processor, memory, system; device and precision; how busy it is already; versions."""
    device = best_device()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    load = f", load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    hardware = f"{processor()}, {cores} cores, {torch.get_num_threads()} threads, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}"
    versions = [f"{package} {version(package)}" for package in PACKAGES if version(package)]
    return (
        f"{hardware}; device {name} in {resolve_precision('auto', device)}{load}; diffusion_demo {__version__}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def processor() -> str:
    """The processor's name, as Linux tells it, else as Python does."""
    told = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
