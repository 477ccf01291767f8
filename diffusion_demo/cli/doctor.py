"""python -m diffusion_demo doctor"""

import argparse
import json
import platform
from importlib import metadata
from pathlib import Path

from diffusion_demo import __version__

HELP = "show versions, device, and what works here"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    import torch

    from diffusion_demo.machine import best_device, fastest_precision
    from diffusion_demo.models.description import checkpoints_in

    device = best_device()
    report = {
        "diffusion_demo": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("gradio", "torch", "diffusers", "accelerate", "pillow", "numpy")},
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "fastest precision": fastest_precision(device.type),
        "checkpoints": [path.name for path in checkpoints_in(Path(__file__).resolve().parents[2] / "checkpoints")],
    }
    if parsed.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:18} {', '.join(value) if isinstance(value, list) else value}")
    return 0
