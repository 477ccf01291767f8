"""Command line: sample | train | queue | evaluate | import | export | deploy | doctor.

Exit code 0 on success; 2 for invalid input, with one line on stderr.
"""

import argparse
import sys
from errno import EACCES, EEXIST, EIO, EISDIR, ELOOP, ENAMETOOLONG, ENOSPC, ENOTDIR, EPERM, EROFS
from typing import NoReturn

from diffusion_demo import __version__
from diffusion_demo.cli import deploy, doctor, evaluate, export, import_, queue, sample, train
from diffusion_demo.cli.output_streams import discard_lost_output, escape_unknown_characters
from diffusion_demo.errors import BadInput, exit_on_missing_package
from diffusion_demo.paths import runs_folder

DISK_ERRORS = (EACCES, EPERM, EROFS, ENOSPC, EIO, ENAMETOOLONG, ELOOP, ENOTDIR, EISDIR, EEXIST)
MAX_MESSAGE = 300  # characters of an error of argparse, which repeats the whole argument
OPTIONS = ("-h", "--help", "--version")  # the options before a command


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        if len(message) > MAX_MESSAGE:
            message = f"{message[:MAX_MESSAGE]}..."
        period = "" if message.endswith(".") else "."
        self.exit(2, f"{message[:1].upper()}{message[1:]}{period} See {self.prog} --help.\n")


def main(arguments: list[str] | None = None, program: str = "python -m diffusion_demo") -> int:
    """Run a command and return its exit code.

    arguments  those of the command line; default: sys.argv[1:]
    program    how the user calls this command line, for its help and messages
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    escape_unknown_characters()
    try:
        with exit_on_missing_package():
            parsed = _parser(program).parse_args(arguments)
            return parsed.run(parsed, arguments)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `evaluate ... | head -1`; training goes on without its output
        discard_lost_output()
        return 1
    except OSError as error:
        if not (sentence := _path_problem(error)):
            raise
        print(sentence, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _path_problem(error: OSError) -> str | None:
    """Return one sentence for a disk or permission error, None for an error of the program itself."""
    if error.filename is None or error.errno not in DISK_ERRORS:
        return None
    return f"Cannot use {error.filename} ({error.strerror}). Check the path, its permissions and the free disk space."


def _parser(program: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=program,
        description="Sample, train and evaluate diffusion models. Without a command, the web page opens.",
        epilog=f"Options of the web page: {program} page --help. Its training runs are in {runs_folder()}; "
        "DIFFUSION_DEMO_RUNS names another folder.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in (sample, train, queue, evaluate, import_, export, deploy, doctor):
        command = commands.add_parser(module.__name__.rpartition(".")[2].rstrip("_"), help=module.HELP)
        command.set_defaults(run=module.run)
        module.add_options(command)
    return parser
