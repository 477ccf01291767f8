"""Check that the tests detect typical faults: `python -m scripts.mutations`.

Each fault of scripts/faults.py changes one line in a copy of the project, on which the tests named in the fault then
run. All of them take about half an hour on two cores.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 3600  # seconds, for the tests of one fault


def is_detected(fault: Fault) -> bool:
    """Return whether the tests fail on a copy of the project with this fault.

    Raises ValueError if the line to change is not in the file exactly once, and RuntimeError if the tests cannot run.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("diffusion_demo", "scripts", "tests", "checkpoints", "docs"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in filter(Path.is_file, ROOT.iterdir()):
            shutil.copy(path, copy)
        file = copy / "diffusion_demo" / fault.file
        source = file.read_text(encoding="utf-8")
        if source.count(fault.right) != 1:
            raise ValueError(f"{fault.name}: {fault.file} must contain this line exactly once: {fault.right}")
        file.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *fault.tests.split()]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{fault.name}: the tests did not run\n{done.stdout}{done.stderr}")
        return done.returncode == 1


def main() -> int:
    """Report every fault. Return 0 if the tests detect all of them, else 1."""
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for fault, detected in zip(FAULTS, pool.map(is_detected, FAULTS), strict=True):
            print("detected" if detected else "MISSED  ", fault.name, flush=True)
            missed += not detected
    print(f"{len(FAULTS) - missed} of {len(FAULTS)} faults detected")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
