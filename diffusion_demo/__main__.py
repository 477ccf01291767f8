"""Entry point of `diffusion-demo` and `python -m diffusion_demo`: a command, or the web page without one."""

import os
import sys
from pathlib import Path

from diffusion_demo.errors import exit_on_missing_package

with exit_on_missing_package():
    from diffusion_demo import cli


def main(arguments: list[str] | None = None) -> int:
    """Run a command, or serve the web page if there is none, and return the exit code.

    arguments  those of the command line; default: sys.argv[1:]
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        os.getcwd()
    except FileNotFoundError:  # torch cannot load its libraries without a current folder
        print("The current folder no longer exists. Change to another one.", file=sys.stderr)
        return 2
    program = "python -m diffusion_demo" if Path(sys.argv[0]).name == "__main__.py" else "diffusion-demo"
    if arguments[:1] == ["page"]:
        return _serve_page(arguments[1:], f"{program} page")
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in cli.OPTIONS):
        return _serve_page(arguments, program)
    return cli.main(arguments, program)


def _serve_page(arguments: list[str], program: str) -> int:
    with exit_on_missing_package():
        from diffusion_demo.ui.launch import main as serve

    return serve(arguments, program)


if __name__ == "__main__":
    raise SystemExit(main())
