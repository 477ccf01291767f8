"""Quality presets: one choice that sets the sampler, its number of steps and its eta."""

import json

import gradio as gr

from diffusion_demo.sampling.presets import DEFAULT, DEFAULT_ETA, PRESETS

CUSTOM = "custom"

# JavaScript: the presets as an object, and the name of the preset that equals the array `numbers`.
_PRESETS = f"({json.dumps(PRESETS)})"
_MATCHING_NAME = (
    f"(Object.entries({_PRESETS}).find(([word, preset]) => preset.every((value, i) => value === numbers[i]))"
    f" || [{json.dumps(CUSTOM)}])[0]"
)
# JavaScript of event listeners.
_FROM_PRESET = f"(word, ...numbers) => {_PRESETS}[word] || numbers"
_FROM_NUMBERS = f"(...numbers) => {_MATCHING_NAME}"
_FROM_SAMPLER = (
    f"(sampler, steps) => {{ const numbers = [sampler, steps, ({json.dumps(DEFAULT_ETA)})[sampler] || 0];"
    f" return [numbers[2], {_MATCHING_NAME}]; }}"
)


def radio() -> gr.Radio:
    """Return the choice of presets. style.css shows "custom" only while it is selected."""
    return gr.Radio(
        [*PRESETS, CUSTOM],
        value=DEFAULT,
        label="Quality",
        info="Better takes longer.",
        interactive=True,
        elem_id="quality",
    )


def connect(preset: gr.Radio, sampler: gr.Radio, steps: gr.Slider, eta: gr.Slider) -> None:
    """Keep the preset and the three fields consistent.

    This happens in the browser, without a request, so that an immediate click on Generate sends the new values.
    """
    numbers = [sampler, steps, eta]
    preset.input(None, [preset, *numbers], numbers, js=_FROM_PRESET)
    sampler.input(None, [sampler, steps], [eta, preset], js=_FROM_SAMPLER)
    for field in (steps, eta):
        field.input(None, numbers, preset, js=_FROM_NUMBERS)


def word_for(sampler: str, steps: int, eta: float | None) -> str:
    """Return the name of the preset with these values, or CUSTOM."""
    return next((name for name, preset in PRESETS.items() if preset == (sampler, steps, eta)), CUSTOM)
