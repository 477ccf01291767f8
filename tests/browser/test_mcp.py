"""The MCP server: off by default, and where it is on, three tools under the limits of the page."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import httpx
import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.settings import Settings
from tests.browser.servers import serving
from tests.conftest import ROOT

CALLS = """
import asyncio, base64, io, sys
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from PIL import Image

async def main(url):
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        print(sorted(tool.name for tool in (await session.list_tools()).tools))
        models = await session.call_tool("list_models", {})
        print("avatars-32" in models.content[0].text, models.isError)
        t = await session.call_tool("inspect", {"model": "avatars-32", "t": 1000})
        print('"timesteps": 1000' in t.content[0].text.replace("'", '"'))
        made = await session.call_tool("sample", {"model": "avatars-32", "label": "robot", "num_images": 2,
            "quality": "quick", "seed": 3})
        images = [Image.open(io.BytesIO(base64.b64decode(one.data))) for one in made.content if one.type == "image"]
        print([image.size for image in images])
        for arguments in ({"num_images": 17}, {"model": "../secret"}, {"quality": "perfect"}, {"seed": "x"}):
            refused = await session.call_tool("sample", {"model": "avatars-32", "label": "mixed", "num_images": 1,
                "quality": "quick", "seed": 1} | arguments)
            print(refused.isError, refused.content[0].text)

asyncio.run(main(sys.argv[1]))
"""


def test_it_is_off_by_default_and_excludes_a_login():
    assert not Settings.from_environment({}).mcp and not Settings.from_environment({"SPACE_ID": "a/b"}).mcp
    assert Settings.from_environment({"DIFFUSION_DEMO_MCP": "on"}).mcp
    with pytest.raises(BadInput, match="cannot be combined"):
        Settings.from_environment({"DIFFUSION_DEMO_MCP": "on", "DIFFUSION_DEMO_LOGIN": "a:b"})


@pytest.mark.skipif(importlib.util.find_spec("mcp") is not None, reason="mcp is installed")
def test_without_its_package_the_page_says_what_to_install(tmp_path):
    environment = os.environ | {"DIFFUSION_DEMO_MCP": "on", "DIFFUSION_DEMO_RUNS": str(tmp_path)}
    line = [sys.executable, "app.py", "--no-browser"]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("The MCP server needs a package. Run: pip install")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_tools_under_the_limits_of_a_public_page(tmp_path, monkeypatch):
    """In an environment of its own, because the package pins pydantic."""
    packages = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(packages)]
    subprocess.run([*pip, "mcp>=1.21,<2", "pydantic<=2.12.5"], check=True)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    public = {"DIFFUSION_DEMO_MCP": "on", "DIFFUSION_DEMO_PUBLIC": "on", "PYTHONPATH": str(packages)}
    with serving(tmp_path, public) as server:
        url = f"{server.url}/gradio_api/mcp/"
        line = [sys.executable, "-c", textwrap.dedent(CALLS), url]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    tools, models, inspected, images, *refusals = done.stdout.splitlines()
    assert tools == "['inspect', 'list_models', 'sample']"
    assert models == "True False" and inspected == "True" and images == "[(64, 32)]"
    assert len(refusals) == 4 and all(line.startswith("True ") for line in refusals), refusals


def test_while_it_is_off_its_routes_do_not_exist(url):
    assert httpx.post(f"{url}/gradio_api/mcp/", json={}).status_code == 404
