"""Panels of the Inspect tab, computed on the server.

Each module has a function `show(scene)`, which returns HTML: one sentence, one equation with its source, and images.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusion_demo.ui.inspect.panels.scene import Scene

TITLES = {
    "markov": "Step by step",
    "reverse": "Reverse step",
    "training": "Training",
    "decoder": "Decoding to pixels",
    "bound": "Likelihood bound",
    "back": "Regenerate from x_t",
    "guidance": "Guidance",
}


def show(panel: str, scene: "Scene") -> str:
    """Return the HTML of a panel, by its name in TITLES."""
    # imported here, because the modules load torch, which would delay the start of the page
    return f'<div id="panel-{panel}">{import_module(f"{__name__}.{panel}").show(scene)}</div>'
