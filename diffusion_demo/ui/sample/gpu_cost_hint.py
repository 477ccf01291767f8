"""On ZeroGPU, a line that says how much of the visitor's GPU time a click on the start button costs."""

import json
from collections.abc import Mapping

import gradio as gr
from gradio.components import Component

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.ui.event_options import INSTANT_EVENT
from diffusion_demo.ui.sample.request_form import upsampler_for
from diffusion_demo.ui.server import gpu_cost, hf_space
from diffusion_demo.ui.server.model_list import model_folders

NAMES = ("model", "num_images", "steps", "guidance_scale", "classifier_scale", "twice")
WORDS = "Uses up to {seconds} s of your daily GPU time ({anonymous} s without an account, {free} s with a free one)."
# JavaScript: GpuWork.seconds and `charged` of gpu_cost.py; a test compares them.
COST = """(model, images, steps, guidance, classifier, twice) => {
    const own = %(models)s[model] || [], calls = 1 + (classifier ? %(classifier_calls)s : 0);
    const rows = images * (calls + (guidance != 1 ? 1 : 0));
    const cost = ([side, parameters]) => Math.ceil(%(start)s + steps * (%(per_call)s * calls + rows * %(per_row)s
        * (side / %(side)s) ** 2 * Math.max(1, parameters / %(parameters)s)));
    return own.slice(0, twice ? 2 : 1).reduce((sum, network) => sum + Math.ceil(%(factor)s * cost(network)), 0); }"""


def lay_out(fields: Mapping[str, Component]) -> None:
    """Add the line below the start button, on ZeroGPU only. `fields` are the inputs of `generate` by name."""
    if not hf_space.ON_ZERO_GPU:
        return
    hint = gr.HTML(elem_id="gpu-cost", elem_classes="hint")
    inputs = [fields[name] for name in NAMES]
    changed = [field.change for field in inputs]  # pyright: ignore[reportAttributeAccessIssue]
    gr.on(changed, None, inputs, hint, js=_hint_script(), **INSTANT_EVENT)


def _hint_script() -> str:
    quotas = gpu_cost.QUOTAS
    words = WORDS.format(seconds="${cost}", anonymous=quotas["anonymous"], free=quotas["free account"])
    return f"(...fields) => {{ const cost = ({cost_script(_networks())})(...fields); return `{words}`; }}"


def cost_script(networks: dict[str, list[tuple[int, int]]]) -> str:
    """Return JavaScript for the seconds of the visitor's quota that the fields need.

    networks  side and parameters of each model by name, and those of its upsampler, if there is one
    """
    return COST % {
        "models": f"({json.dumps(networks)})",
        "classifier_calls": gpu_cost.CLASSIFIER_CALLS,
        "start": gpu_cost.START,
        "per_call": gpu_cost.PER_CALL,
        "per_row": gpu_cost.PER_ROW,
        "side": gpu_cost.BASE_SIDE,
        "parameters": gpu_cost.BASE_PARAMETERS,
        "factor": gpu_cost.ZERO_GPU_FACTOR,
    }


def _networks() -> dict[str, list[tuple[int, int]]]:
    networks = {}
    for name, folder in model_folders().items():
        if name in ORACLES:  # a formula, which needs no GPU
            continue
        metadata = load_metadata(folder)
        upsampler = upsampler_for(metadata)
        pair = [(metadata, folder), *([(load_metadata(upsampler[1]), upsampler[1])] if upsampler else [])]
        networks[name] = [(one.image_size, hf_space.parameters_of(path)) for one, path in pair]
    return networks
