"""The words of presets.py as a choice, over the sampler, its steps and its eta."""

import json

import gradio as gr

from diffusion_demo.sampling.presets import DEFAULT, DEFAULT_ETA, PRESETS

CUSTOM = "custom"

_WORDS = f"({json.dumps(PRESETS)})"
_WORD = f"(Object.entries({_WORDS}).find(([word, preset]) => preset.every((value, i) => value === numbers[i])) || [{json.dumps(CUSTOM)}])[0]"
_CHOSEN = f"(word, ...numbers) => {_WORDS}[word] || numbers"
_BY_HAND = f"(...numbers) => {_WORD}"
_WITH_ITS_ETA = f"(sampler, steps) => {{ const numbers = [sampler, steps, ({json.dumps(DEFAULT_ETA)})[sampler] || 0]; return [numbers[2], {_WORD}]; }}"


def radio() -> gr.Radio:
    """The three words; a fourth shows itself when the numbers are none of theirs (style.css hides it until then)."""
    return gr.Radio(
        [*PRESETS, CUSTOM],
        value=DEFAULT,
        label="Quality",
        info="Better takes longer.",
        interactive=True,
        elem_id="quality",
    )


def wire(word: gr.Radio, sampler: gr.Radio, steps: gr.Slider, eta: gr.Slider) -> None:
    """Word and numbers follow each other in the browser, without a request, so that a click on Generate right after finds them so."""
    numbers = [sampler, steps, eta]
    word.input(None, [word, *numbers], numbers, js=_CHOSEN)
    sampler.input(None, [sampler, steps], [eta, word], js=_WITH_ITS_ETA)
    for field in (steps, eta):
        field.input(None, numbers, word, js=_BY_HAND)


def word_for(sampler: str, steps: int, eta: float) -> str:
    """The word for these numbers."""
    return next((word for word, preset in PRESETS.items() if preset == (sampler, steps, eta)), CUSTOM)
