"""python -m diffusion_demo deploy"""

import argparse

from diffusion_demo.hub import space
from diffusion_demo.hub.account import writing_api

HELP = "put the page on a Hugging Face Space"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to the parser."""
    parser.add_argument("space", metavar="USER/NAME", help="Space to create or update")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the requests and files, without a login, and send nothing"
    )
    parser.add_argument("--private", action="store_true", help="only you can see the Space")
    parser.add_argument(
        "--flavor",
        default="zero-a10g",
        metavar="NAME",
        help="hardware (default: %(default)s, ZeroGPU, the only one that is free)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="variables",
        metavar="NAME=VALUE",
        help="setting of the page, such as IMAGES=8; may be repeated",
    )
    parser.add_argument(
        "--bucket",
        nargs="?",
        const="",
        metavar="USER/NAME",
        help="keep training runs in a storage bucket (default: the name of the Space and -runs)",
    )
    parser.add_argument(
        "--hf-login", action="store_true", help="visitors must log in with Hugging Face (hf_oauth of the Space)"
    )


def run(parsed: argparse.Namespace, arguments: list[str]) -> int:
    """Deploy the page, or print what that would do, and return the exit code."""
    variables = space.parse_variables(parsed.variables)
    if parsed.hf_login:
        variables |= {f"{space.PREFIX}HF_LOGIN": "on"}
    bucket = f"{parsed.space}-runs" if parsed.bucket == "" else parsed.bucket
    deployment = space.Deployment(parsed.space, parsed.flavor, parsed.private, variables, bucket, parsed.hf_login)
    if parsed.dry_run:
        _print_plan(deployment)
        return 0
    address = space.deploy(deployment, writing_api(), lambda action: print(action, flush=True))
    print(f"The Space is being built, which takes minutes: {address}")
    return 0


def _print_plan(deployment: space.Deployment) -> None:
    for request in space.settings_requests(deployment):
        print(request)
    for line in space.upload_requests(deployment.space):
        print(line)
    files = deployment.files()
    total = 0
    for name, file in files.items():
        size = len(file) if isinstance(file, bytes) else file.stat().st_size
        total += size
        print(f"  {name} ({size:,} bytes)")
    print(f"{len(files)} files, {total / 1e6:.1f} MB. Nothing was sent.")
