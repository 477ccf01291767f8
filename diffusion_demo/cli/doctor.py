"""python -m diffusion_demo doctor"""

import argparse
import json
import platform
from importlib import metadata

from diffusion_demo import __version__
from diffusion_demo.models.metadata import checkpoints_in
from diffusion_demo.paths import CHECKPOINTS, runs_folder

HELP = "show versions, device, bundled checkpoints and the folder of the page's runs"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to the parser."""
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Print the report and return the exit code."""
    import torch

    from diffusion_demo.runtime.device import best_device, fastest_precision

    device = best_device()
    report = {
        "diffusion_demo": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("gradio", "torch", "diffusers", "accelerate", "pillow", "numpy")},
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "fastest precision": fastest_precision(device.type),
        "runs": str(runs_folder()),
        "checkpoints": [path.name for path in checkpoints_in(CHECKPOINTS)],
    }
    if parsed.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:18} {', '.join(value) if isinstance(value, list) else value}")
    return 0
