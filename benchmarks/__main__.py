"""Table of speed and memory benchmarks, printed row by row.

    python -m benchmarks [--rounds 5] [sampling diffusers training page data memory gpu]

Run it on an idle machine. The candidates of a row alternate within one process. Every number is the median over the
rounds; brackets hold the minimum, the maximum and the number of rounds.
"""

import argparse
from importlib import import_module

GROUPS = {
    "sampling": ("sampling_overhead",),
    "diffusers": ("against_diffusers",),
    "training": ("training_overhead",),
    "page": ("page_start", "page_generate", "page_inspect"),
    "data": ("dataset", "training_start"),
    "memory": ("memory",),
    "gpu": ("accelerator",),
}
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"one or more of {', '.join(GROUPS)}; default: all")
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        metavar="N",
        help=f"rounds per row; default: {ROUNDS}; half as many for training, twice as many for clicks",
    )
    parsed = parser.parse_args()
    if unknown := [group for group in parsed.groups if group not in GROUPS]:
        parser.error(f"unknown group {unknown[0]!r}; choose from {', '.join(GROUPS)}")
    if parsed.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {parsed.rounds}")
    print(f"{import_module('benchmarks.machine').machine()}.\n", flush=True)
    print("| benchmark | here | baseline | comparison |\n|---|---|---|---|", flush=True)
    for group in parsed.groups or GROUPS:
        for module in GROUPS[group]:
            for row in import_module(f"benchmarks.{module}").rows(parsed.rounds):
                print(row, flush=True)


if __name__ == "__main__":
    main()
