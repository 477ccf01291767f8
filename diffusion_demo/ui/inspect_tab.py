"""The Inspect tab: what the forward process does to a picture at every t."""

import base64
import random
from pathlib import Path

import gradio as gr
from gradio.media import get_image

from diffusion_demo.ui import choices, showcase, warmup

SHOWS = {"q_sample": "the sum", "alphas_cumprod": "the curves", "linear_betas": "the curves", "cosine_betas": "the curves"}
HERE = Path(__file__).parent
SIZE = 128
NUM_TIMESTEPS = 1000
FIRST_PICTURE = "lion.jpg"
SCHEDULES = {"linear": "linear (DDPM)", "squaredcos_cap_v2": "cosine (Improved DDPM)"}


def build(page: gr.Blocks) -> None:
    """Lay out the tab and wire it."""
    examples = _examples()
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("Drag **t** and watch a picture turn into noise. A diffusion model learns the way back, one small step at a time.")
            picture = gr.Image(
                label="Your picture", type="filepath", sources=["upload", "clipboard"], format="png", height=220, buttons=[], elem_id="picture"
            )
            # The file reaches the handler unread: gradio's own reading turns a broken picture into an error without words.
            picture.preprocess = lambda payload: payload and payload.path
            gr.Examples(examples, picture, label="Or one of these", examples_per_page=8, elem_id="examples")
            noise = gr.Button("New noise", elem_id="new-noise")
        with gr.Column(scale=5, min_width=320, elem_classes="results"):
            inspector = gr.HTML(
                None,
                html_template=(HERE / "inspector.html").read_text(encoding="utf-8"),
                js_on_load=(HERE / "inspector.js").read_text(encoding="utf-8"),
                elem_id="inspector",
            )
    seed = gr.State(0)
    quiet = {"concurrency_limit": None, "show_progress": "hidden"}
    page.load(lambda: _inspect(None, 0), None, inspector, api_visibility="private", **quiet)
    picture.change(_inspect, [picture, seed], inspector, api_name="inspect", **quiet)
    noise.click(lambda: random.randrange(2**31), None, seed, api_visibility="private", **quiet).then(
        _inspect, [picture, seed], inspector, api_visibility="private", **quiet
    )


def _examples() -> list[list[str]]:
    made = [path for folder in choices.models().values() for path, _ in showcase.read(folder).files]
    return [[path] for path in [get_image(FIRST_PICTURE), get_image("cheetah1.jpg"), get_image("tower.jpg"), *made[:3]]]


def _inspect(path: str | None, seed: int):
    """The picture, standard normal noise of its size, and the schedules' abar tables, for the browser to draw x_t from."""
    warmup.wait()
    import torch

    from diffusion_demo.data import UNREADABLE, Framing, decode
    from diffusion_demo.diffusion.schedules import alphas_cumprod, named_betas

    path = path or get_image(FIRST_PICTURE)
    try:
        pixels = decode(Path(path).read_bytes(), Framing(SIZE))
    except UNREADABLE as error:
        raise gr.Error("This picture cannot be read; try a PNG or JPEG.", print_exception=False) from error
    eps = torch.randn(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(int(seed)))
    return {
        "size": SIZE,
        "T": NUM_TIMESTEPS,
        "x0": _base64(pixels.transpose(1, 2, 0).tobytes()),
        "eps": _base64(eps.numpy().tobytes()),
        "schedules": [{"label": label, "abar": alphas_cumprod(named_betas(name, NUM_TIMESTEPS)).tolist()} for name, label in SCHEDULES.items()],
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
