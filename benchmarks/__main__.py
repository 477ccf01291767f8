"""The table of how fast everything is, a row as soon as it is measured.

    python -m benchmarks [--rounds 5] [sampling diffusers training page data memory gpu]

For a quiet machine, with nothing else running. All that a row compares takes turns in this process; a figure is the median of the rounds, and
brackets hold the least and the most of them, and their number.
"""

import argparse
from importlib import import_module

GROUPS = {
    "sampling": ("sampling_overhead",),
    "diffusers": ("against_diffusers",),
    "training": ("training_overhead",),
    "page": ("page_start", "page_generate"),
    "data": ("dataset", "training_start"),
    "memory": ("memory",),
    "gpu": ("accelerator",),
}
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all, unless some are named"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        metavar="N",
        help=f"{ROUNDS} unless given; training half as often, clicks twice",
    )
    parsed = parser.parse_args()
    if unknown := [group for group in parsed.groups if group not in GROUPS]:
        parser.error(f"there is no group {unknown[0]!r}; choose of {', '.join(GROUPS)}")
    if parsed.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {parsed.rounds}")
    print(f"{import_module('benchmarks.machine').machine()}.\n", flush=True)
    print("| what | here | beside it | here against that |\n|---|---|---|---|", flush=True)
    for group in parsed.groups or GROUPS:
        for module in GROUPS[group]:
            for row in import_module(f"benchmarks.{module}").rows(parsed.rounds):
                print(row, flush=True)


if __name__ == "__main__":
    main()
