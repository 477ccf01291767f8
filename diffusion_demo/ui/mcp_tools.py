"""The page as an MCP server (Model Context Protocol) with three tools, if DIFFUSION_DEMO_MCP is on.

A tool is an endpoint like any other: the same schemas, limits and queue. It needs the extra `mcp` of this package.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import gradio as gr
from PIL import Image

from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.sampling.presets import DEFAULT, GUIDANCE_START_PERCENT, PRESETS
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.errors import user_errors_as_toasts
from diffusion_demo.ui.sample.generate import generate
from diffusion_demo.ui.sample.request_form import MAX_FORM_SEED, MIXED
from diffusion_demo.ui.server import warmup
from diffusion_demo.ui.server.model_list import DEFAULT_MODEL, folder_of, model_folders
from diffusion_demo.ui.settings import settings

# Names of the tools, and the endpoints that they call. Gradio would offer every endpoint of the page.
TOOLS = {"list_models": "/list_models", "sample": "/sample_images", "inspect": "/inspect_timestep"}
NOT_INSTALLED = "The MCP server needs a package. Run: pip install 'gradio[mcp]', or set DIFFUSION_DEMO_MCP=off."


def build() -> None:
    """Add the endpoints of the tools, and make them the only tools. Raises BadInput if the package is missing."""
    if not settings().mcp:
        return
    if importlib.util.find_spec("mcp") is None:
        raise BadInput(NOT_INSTALLED)

    from gradio.mcp import GradioMCPServer

    GradioMCPServer.get_tool_to_endpoint = lambda self: dict(TOOLS)
    with gr.Column(visible=False):
        trigger, result, images = gr.Button(), gr.JSON(), gr.Image(format="png", type="pil")
        model = gr.Textbox(DEFAULT_MODEL, label="Model", max_length=200)
        label = gr.Textbox(MIXED, label="Class", max_length=200)
        count = gr.Number(4, label="Images", precision=0, minimum=1, maximum=settings().images)
        quality = gr.Radio(list(PRESETS), value=DEFAULT, label="Quality")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_FORM_SEED)
        t = gr.Number(500, label="Timestep", precision=0, minimum=1, maximum=100_000)
    names = {tool: endpoint.removeprefix("/") for tool, endpoint in TOOLS.items()}
    trigger.click(list_models, None, result, api_name=names["list_models"], queue=False)
    inputs = [model, label, count, quality, seed]
    trigger.click(sample, inputs, images, api_name=names["sample"], concurrency_limit=None)
    trigger.click(inspect, [model, t], result, api_name=names["inspect"], queue=False)


def list_models() -> dict[str, Any]:
    """List the diffusion models, each with its image size in pixels and its classes."""
    models = {}
    for name, folder in model_folders().items():
        metadata = load_metadata(folder)
        models[name] = {"image_size": metadata.image_size, "classes": list(metadata.class_names)}
    return models


def sample(model: str, label: str, num_images: int, quality: str, seed: int) -> Iterator[Image.Image]:
    """Generate images with a diffusion model, arranged in rows on one image.

    Args:
        model: Name of a model, from list_models.
        label: One of its classes, or "mixed".
        num_images: Number of images.
        quality: quick, balanced or best.
        seed: Seed of the first image; the same seed gives the same image.
    """
    sampler, steps, eta = PRESETS[quality or DEFAULT]
    form = {"label": label, "num_images": num_images, "sampler": sampler, "steps": steps, "eta": eta, "seed": seed}
    guidance = {"guidance_scale": Request.guidance_scale, "classifier_scale": Request.classifier_scale}
    interval = {"guide_from": GUIDANCE_START_PERCENT, "guide_to": 100}
    for updates in generate(model, False, **form, **guidance, **interval):
        if updates.get("gallery"):  # the first update empties the gallery
            yield _sheet([path for path, _ in updates["gallery"]])


def _sheet(files: list[str]) -> Image.Image:
    """Return the images in these files as one image, because Gradio's MCP server sends no galleries."""
    import numpy as np
    import torch

    from diffusion_demo.images import contact_sheet

    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return contact_sheet(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def inspect(model: str, t: int) -> dict[str, float]:
    """Explain a timestep of a model: how much of an image and how much noise x_t holds, and their ratio.

    Args:
        model: Name of a model, from list_models.
        t: Timestep, from 1 (almost clean) to the number of timesteps of the model (noise).
    """
    warmup.wait()
    from diffusion_demo.ui.server.model_cache import load

    with user_errors_as_toasts():
        diffusion = load(folder_of(model)).diffusion
        if t is None or not 1 <= t <= len(diffusion):
            raise BadInput(f"The timestep must be from 1 to {len(diffusion)}.")
    abar = float(diffusion.abar[int(t) - 1])
    numbers = {"image": abar**0.5, "noise": (1 - abar) ** 0.5, "signal_to_noise": abar / (1 - abar)}
    return {
        "t": int(t),
        "timesteps": len(diffusion),
        "abar": abar,
        **numbers,
        "beta": float(diffusion.betas[int(t) - 1]),
    }
