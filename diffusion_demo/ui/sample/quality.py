"""Quality presets: one choice that sets the sampler, its number of steps and its eta."""

import json

import gradio as gr

from diffusion_demo.sampling.presets import DEFAULT, DEFAULT_ETA, PRESETS
from diffusion_demo.ui.sample import words
from diffusion_demo.ui.settings import settings

CUSTOM = "custom"
# What a choice of the sampler sets: the fewest steps at which docs/results.md finds it near its best, with a margin.
USUAL_STEPS = {"dpm_solver": 12, "ddim": 25, "ddpm": 100}

# JavaScript: the presets as an object, and the name of the preset that equals the array `numbers`.
_PRESETS = f"({json.dumps(PRESETS)})"
_MATCHING_NAME = (
    f"(Object.entries({_PRESETS}).find(([word, preset]) => preset.every((value, i) => value === numbers[i]))"
    f" || [{json.dumps(CUSTOM)}])[0]"
)
# JavaScript of event listeners.
_FROM_PRESET = f"(word, ...numbers) => {_PRESETS}[word] || numbers"
_FROM_NUMBERS = f"(...numbers) => {_MATCHING_NAME}"


def radio() -> gr.Radio:
    """Return the choice of presets. style.css shows "custom" only while it is selected."""
    return gr.Radio(
        [(words.QUALITIES[name], name) for name in (*PRESETS, CUSTOM)],
        value=DEFAULT,
        label=words.QUALITY,
        info=words.QUALITY_HINT,
        interactive=True,
        elem_id="quality",
        elem_classes="segments",
    )


def connect(preset: gr.Radio, sampler: gr.Radio, steps: gr.Slider, eta: gr.Slider) -> None:
    """Keep the preset and the three fields consistent.

    This happens in the browser, without a request, so that an immediate click on Generate sends the new values.
    """
    numbers = [sampler, steps, eta]
    preset.input(None, [preset, *numbers], numbers, js=_FROM_PRESET)
    sampler.input(None, sampler, [steps, eta, preset], js=_from_sampler(settings().steps))
    for field in (steps, eta):
        field.input(None, numbers, preset, js=_FROM_NUMBERS)


def _from_sampler(max_steps: int) -> str:
    """Return JavaScript that sets the steps, the eta and the preset that suit a sampler."""
    return (
        f"(sampler) => {{ const numbers = [sampler, Math.min(({json.dumps(USUAL_STEPS)})[sampler], {max_steps}),"
        f" ({json.dumps(DEFAULT_ETA)})[sampler] || 0]; return [numbers[1], numbers[2], {_MATCHING_NAME}]; }}"
    )


def word_for(sampler: str, steps: int, eta: float | None) -> str:
    """Return the name of the preset with these values, or CUSTOM."""
    return next((name for name, preset in PRESETS.items() if preset == (sampler, steps, eta)), CUSTOM)
