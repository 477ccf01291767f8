"""README.md of a Space: its settings, and what visitors of its repository read."""

import json
from typing import Any

from diffusion_demo.hub.space_requirements import PYTHON, gradio_version

TEXT = """
# {title}

Generate images with a small diffusion model and see how the mathematics works. Uploaded with `diffusion-demo deploy`.

To change the limits of this page, set variables in the settings of the Space, such as `DIFFUSION_DEMO_IMAGES`.
"""


def front_matter(title: str = "Diffusion Demo", login: bool = False) -> dict[str, Any]:
    """Return the settings at the top of the README.md, see huggingface.co/docs/hub/spaces-config-reference."""
    settings = {
        "title": title,
        "emoji": "🎲",
        "colorFrom": "indigo",
        "colorTo": "yellow",
        "sdk": "gradio",
        "sdk_version": gradio_version(),
        "python_version": PYTHON,
        "app_file": "app.py",
        "short_description": "See, run and train small diffusion models",
        "license": "apache-2.0",
        "suggested_hardware": "zero-a10g",
        "fullWidth": True,
        "header": "mini",
        "models": ["google/ddpm-cifar10-32"],
        "tags": ["diffusion", "ddpm", "education"],
    }
    return settings | ({"hf_oauth": True} if login else {})


def readme(title: str, login: bool) -> str:
    """Return the README.md of the Space."""
    # Every JSON value is a YAML value, so no title can add a key.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in front_matter(title, login).items()]
    return "\n".join(["---", *lines, "---", TEXT.format(title=title)])
