"""The Inspect tab: what the forward process does to an image at every t."""

import os
import random
import re
from pathlib import Path

import gradio as gr
from gradio.media import get_image
from gradio.processing_utils import save_file_to_cache

from diffusion_demo.errors import BadInput
from diffusion_demo.paths import read_asset
from diffusion_demo.ui.inspect import panel_view
from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.server import model_list, warmup

SHOWS = {
    "q_sample": "the sum",
    "alphas_cumprod": "the curves",
    "linear_betas": "the curves",
    "cosine_betas": "the curves",
    "signal_to_noise": "the curves",
    "terminal_warning": "the curves",
    "normal_kl": "where it ends",
    "q_step": "step by step",
    "q_mean_variance": "step by step",
    "q_posterior": "the way back",
    "p": "the way back",
    "p_variance": "the way back",
    "kl_term": "the way back",
    "decoder_term": "the last step",
    "decoder_log_likelihood": "the last step",
    "bound_terms": "the bound",
    "prior_bits": "the bound",
    "reconstruct": "back from here",
    "interpolate": "back from here",
    "ddim_encode": "back from here",
    "finite_set": "model",
}
NUM_TIMESTEPS = 1000
FIRST_EXAMPLE = "lion"
STEPS_INFO = "From 2 to 4000."
SCRIPTS = ("inspector.js", "inspector_plots.js", "inspector_link.js", "inspector_events.js")


def build(page: gr.Blocks, tabs: gr.Tabs) -> None:
    """Lay out the tab and wire it. A link may name the tab, an example, T and the noise; its t and schedule are the browser's to read."""
    with gr.Row(elem_id="inspect-what"):
        with gr.Column(scale=4, min_width=300):
            gr.Markdown(
                "Drag **t** and watch an image turn into noise. A diffusion model learns the way back, one small step at a time."
            )
            with gr.Row(elem_id="inspect-how"):
                wanted = gr.Number(
                    NUM_TIMESTEPS,
                    label="T, the number of steps",
                    info=STEPS_INFO,
                    scale=2,
                    min_width=170,
                    elem_id="inspect-steps",
                )
                again = gr.Button("New noise", scale=1, min_width=110, elem_id="new-noise")
        with gr.Column(scale=4, min_width=150):
            image = gr.Image(
                label="Your image",
                type="filepath",
                sources=["upload", "clipboard"],
                format="png",
                height=200,
                buttons=[],
                elem_id="picture",
            )
            # The file reaches the handler unread: gradio's own reading turns a broken image into an error without words.
            image.preprocess = lambda payload: payload and payload.path
        with gr.Column(scale=3, min_width=150):
            gr.Examples(
                [[str(path)] for path in _examples().values()],
                image,
                label="Or one of these",
                examples_per_page=8,
                elem_id="examples",
            )
    inspector = gr.HTML(
        None,
        html_template=read_asset("inspect/inspector.html"),
        js_on_load="\n".join(read_asset(f"inspect/{name}") for name in SCRIPTS),
        elem_id="inspector",
    )
    seed, steps = gr.State(0), gr.State(NUM_TIMESTEPS)
    quiet = {"concurrency_limit": None, "show_progress": "hidden"}
    private = quiet | {"api_visibility": "private"}
    panel_view.build(page, image, seed, inspector)
    page.load(_tab, None, tabs, **private)
    page.load(_open, None, [image, wanted, seed, steps, inspector], **private)
    again.click(lambda: random.randrange(2**31), None, seed, **private)
    gr.on([wanted.submit, wanted.blur], _steps, wanted, [steps, wanted], **private)
    shown = [image, seed, steps]
    gr.on(
        [image.change, seed.change, steps.change],
        _inspect,
        shown,
        inspector,
        api_name="inspect",
        trigger_mode="always_last",
        **quiet,
    )


def _examples() -> dict[str, Path]:
    """The images that are offered, by the names that links give them."""
    made = [path for folder in model_list.models().values() for path, _ in showcase.read(folder).files]
    paths = [
        Path(path) for path in [get_image("lion.jpg"), get_image("cheetah1.jpg"), get_image("tower.jpg"), *made[:3]]
    ]
    return {path.stem: path for path in paths}


def _tab(request: gr.Request):
    return gr.Tabs(selected="inspect") if request.query_params.get("tab") == "inspect" else gr.skip()


def _open(request: gr.Request) -> list:
    """What a link asks for, as far as it makes sense: image, T (typed and in use), noise and the explorer's value."""
    warmup.wait()
    from diffusion_demo.ui.inspect import explorer_data

    asked = request.query_params
    examples = _examples()
    path = examples.get(asked.get("example"), examples[FIRST_EXAMPLE])
    seed = int(asked["noise"]) if re.fullmatch("[0-9]{1,10}", asked.get("noise", "")) else 0
    try:
        steps = explorer_data.number_of_steps(float(asked.get("T", NUM_TIMESTEPS)))
    except ValueError:
        steps = NUM_TIMESTEPS
    served = _served(path)
    return [served, steps, seed, steps, _inspect(served, seed, steps)]


def _served(path: Path) -> str:
    """A copy where the browser may fetch it from."""
    return save_file_to_cache(path, os.environ["GRADIO_TEMP_DIR"])


def _steps(wanted: float | None) -> list:
    """T to be used, and what stands under its field; a T that cannot be used changes nothing else."""
    warmup.wait()
    from diffusion_demo.ui.inspect import explorer_data

    try:
        return [explorer_data.number_of_steps(wanted), gr.update(info=STEPS_INFO, elem_classes=[])]
    except BadInput as error:
        return [gr.skip(), gr.update(info=str(error), elem_classes=["wrong"])]


def _inspect(path: str | None, seed: int, steps: int) -> dict:
    """What the browser draws x_t from: the image, standard normal noise of its size, and the tables of every schedule."""
    warmup.wait()
    from diffusion_demo.ui.inspect import explorer_data

    examples = _examples()
    path = Path(path or examples[FIRST_EXAMPLE])
    try:
        pixels = explorer_data.square(path)
    except BadInput as error:
        raise gr.Error(str(error), print_exception=False) from error
    known = (name for name, example in examples.items() if example.read_bytes() == path.read_bytes())
    return explorer_data.explorer(pixels, int(seed), int(steps), next(known, None))
