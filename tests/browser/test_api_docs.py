"""The examples of docs/api.md, run as they are written, against a running page."""

import re
import subprocess
import sys
from typing import Any

from PIL import Image

from tests.browser.conftest import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def example(name, url):
    found = re.search(rf"<!-- api: {name} -->\s*```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    assert "http://127.0.0.1:7860" in found[1]
    return found[1].replace("http://127.0.0.1:7860", url)


def test_the_python_example(url, tmp_path):
    line = [sys.executable, "-c", example("python", url)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 images:" in done.stdout and "2 variations, 3 between the two, and a grid:" in done.stdout


def test_the_curl_example(url, tmp_path):
    script = example("curl", url)
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    answer = (tmp_path / "answer.txt").read_text()
    assert done.returncode == 0 and "event: complete" in answer, done.stderr + answer
    with Image.open(tmp_path / "robot.png") as image:
        assert image.size == (32, 32) and '"seed": 7' in image.info["diffusion_demo"]


def test_every_parameter_of_the_table_exists(url):
    from gradio_client import Client

    described: Any = Client(url, verbose=False).view_api(return_format="dict", print_info=False)
    named = described["named_endpoints"]
    rows = re.findall(r"^\| `(/\w+)` \| .*? \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for endpoint, parameters in rows:
        known = {parameter["parameter_name"] for parameter in named[endpoint]["parameters"]}
        assert set(re.findall(r"`(\w+)`", parameters)) - {"mixed"} <= known, endpoint
