"""The package is typed (py.typed), as type checkers of other projects see it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_95_percent_of_the_public_symbols_have_known_types(tmp_path):
    bin_folder = Path(sys.executable).parent
    pyright = shutil.which("pyright", path=str(bin_folder))
    assert pyright is not None, "pyright is not installed"
    # --verifytypes ignores --pythonpath and takes the first Python on the PATH.
    environment = os.environ | {
        "PATH": os.pathsep.join([str(bin_folder), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
    }
    line = [pyright, "--verifytypes", "diffusion_demo", "--ignoreexternal", "--outputjson"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    report = json.loads(done.stdout)["typeCompleteness"]
    assert sum(report["exportedSymbolCounts"].values()) > 1000, "the package was not found"
    untyped = [symbol["name"] for symbol in report["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]]
    assert report["completenessScore"] >= 0.95, untyped
