"""Command line: sample | train | evaluate | import | export | doctor.

Exit code 0 on success; 2 for invalid input, with one line on stderr.
"""

import argparse
import sys
from typing import NoReturn

from diffusion_demo import __version__
from diffusion_demo.cli import doctor, evaluate, export, import_, sample, train
from diffusion_demo.cli.terminal import discard_lost_output, escape_unknown_characters
from diffusion_demo.errors import BadInput, exit_on_missing_package


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message[:1].upper()}{message[1:]}. See {self.prog} --help.\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; arguments default to sys.argv[1:]."""
    arguments = sys.argv[1:] if arguments is None else arguments
    escape_unknown_characters()
    try:
        with exit_on_missing_package():
            parsed = _parser().parse_args(arguments)
            return parsed.run(parsed, arguments)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `evaluate ... | head -1`; training goes on without its output
        discard_lost_output()
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m diffusion_demo", description="Sample, train and evaluate diffusion models.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in (sample, train, evaluate, import_, export, doctor):
        command = commands.add_parser(module.__name__.rpartition(".")[2].rstrip("_"), help=module.HELP)
        command.set_defaults(run=module.run)
        module.add_options(command)
    return parser
