"""What the Inspect tab works out on the server: one module a panel, each with `show(scene)`, one equation, one image, one sentence."""

from importlib import import_module

TITLES = {
    "markov": "Step by step",
    "reverse": "The way back",
    "training": "Training",
    "decoder": "The last step",
    "bound": "The bound",
    "back": "Back from here",
    "guidance": "Guidance",
}


def show(panel: str, scene) -> str:
    """The panel's HTML for a scene. Torch is loaded with the first one, not with the page."""
    return f'<div id="panel-{panel}">{import_module(f"{__name__}.{panel}").show(scene)}</div>'
