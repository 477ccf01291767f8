"""Start of the page behind a proxy and on IPv6 addresses."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def free_port(family, host):
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("host", "address"), [("::1", "[::1]"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_the_page_starts_on_the_address_while_a_proxy_is_set_that_does_not_answer(host, address, tmp_path):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        port = free_port(family, host)
    except OSError:
        pytest.skip("this machine has no IPv6")
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"), nowhere)
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    environment |= proxies | {"GRADIO_TEMP_DIR": str(tmp_path / "temp"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(ROOT / "app.py"), "--host", host, "--port", str(port), "--no-browser"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as page:
        try:
            assert page.stdout is not None
            lines = []
            for line in page.stdout:
                lines.append(line)
                if "is running at" in line:
                    break
            assert lines and "is running at" in lines[-1], "".join(lines)
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{address}:{port}/", timeout=60) as answer:
                assert answer.status == 200 and b"Diffusion" in answer.read()
        finally:
            page.terminate()
