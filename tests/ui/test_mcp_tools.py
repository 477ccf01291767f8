"""The tools of the MCP server as functions; tests/browser/test_mcp.py calls them over the network."""

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.ui import mcp_tools
from diffusion_demo.ui.server import warmup
from diffusion_demo.ui.server.model_list import folder_of


def test_sample_yields_only_sheets_of_the_finished_images(three_models, monkeypatch):
    monkeypatch.setattr(warmup, "wait", lambda: None)
    side = load_metadata(folder_of("plain")).image_size
    sheets = list(mcp_tools.sample("plain", "two", 2, "quick", 3))
    assert sheets and {sheet.size for sheet in sheets} == {(2 * side, side)}
    assert all(sheet.tobytes() == sheets[0].tobytes() for sheet in sheets)
