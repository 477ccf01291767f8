"""Head of the page: one title, description and image for link previews, and nothing of Gradio's."""

import re

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from diffusion_demo.ui.server.page_head import IMAGE_FILE, IMAGE_SIZE, PageHead

GRADIO = """<html><head>
<meta charset="utf-8" />
<meta property="og:title" content="Gradio" />
<meta
    property="og:description"
    content="Click to try out the app!"
/>
<meta name="twitter:creator" content="@Gradio" />
<meta name="viewport" content="width=device-width" />
</head><body>a page</body></html>"""


@pytest.fixture
def client(monkeypatch):
    monkeypatch.delenv("SPACE_HOST", raising=False)
    app = Starlette(
        routes=[Route("/", lambda request: HTMLResponse(GRADIO)), Route("/x", lambda request: HTMLResponse(GRADIO))],
        middleware=[Middleware(PageHead)],
    )
    return TestClient(app, base_url="https://demo.example")


def test_gradios_tags_are_replaced_by_those_of_the_page(client):
    answer = client.get("/")
    assert answer.headers["content-length"] == str(len(answer.content))
    assert "Gradio" not in answer.text and "try out" not in answer.text
    assert 'name="viewport"' in answer.text and answer.text.endswith("<body>a page</body></html>")
    found = dict(re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', answer.text))
    assert found["og:title"] == found["twitter:title"] == "Diffusion Demo" and "random noise" in found["description"]
    assert found["og:image"] == "https://demo.example/preview.png" and found["og:url"] == "https://demo.example/"
    icon = '<link rel="icon" type="image/svg+xml" href="/favicon.ico">'
    assert re.findall(r"<link rel=.icon[^>]*>", answer.text) == [icon]
    assert answer.text.index("charset") < 100 and client.get("/x").text == GRADIO


def test_the_preview_image_has_the_size_that_its_tags_say(client):
    answer = client.get("/preview.png")
    assert answer.headers["content-type"] == "image/png"
    with Image.open(IMAGE_FILE) as image:
        assert image.size == IMAGE_SIZE and len(image.convert("RGB").getcolors(10_000_000) or []) > 50


@pytest.mark.parametrize("host", ['x"><script>', "a b", "evil.example/path", ""])
def test_a_host_that_is_none_is_not_written_into_the_page(client, host):
    text = client.get("/", headers={"host": host}).text
    assert "<script>" not in text and "evil" not in text and 'content="/preview.png"' in text
