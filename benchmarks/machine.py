"""Description of the machine and the package versions of a benchmark run."""

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
    """Return one line: processor, memory, system, device, precision, load before the start, and versions."""
    device = best_device()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    load = f", load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    hardware = f"{processor()}, {cores} cores, {torch.get_num_threads()} threads, {memory}, {platform.system()}"
    versions = [f"{package} {version(package)}" for package in PACKAGES if version(package)]
    return (
        f"{hardware}; device {name} in {resolve_precision('auto', device)}{load}; diffusion_demo {__version__}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def processor() -> str:
    """Return the name of the processor from /proc/cpuinfo, else from the platform module."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """Return the installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
