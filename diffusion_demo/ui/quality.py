"""Three words for how much work a picture gets, over the sampler and the number of steps."""

import json

import gradio as gr

CUSTOM = "custom"
# From the README's table of steps and samplers: the solver is at its best from ten steps on (12 leaves some room, 8 is the least it takes);
# ancestral sampling is nearest to the 1,000 steps of the papers from 50 on, and 100 leaves room there, too.
PRESETS = {"quick": ("dpm_solver", 8), "balanced": ("dpm_solver", 12), "best": ("ddpm", 100)}
DEFAULT = "balanced"

_CHOSEN = f"(word, sampler, steps) => ({json.dumps(PRESETS)}[word] || [sampler, steps])"
_BY_HAND = (
    f"(sampler, steps) => (Object.entries({json.dumps(PRESETS)}).find(([word, preset]) => preset[0] === sampler && preset[1] === steps)"
    f" || [{json.dumps(CUSTOM)}])[0]"
)


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


def wire(word: gr.Radio, sampler: gr.Radio, steps: gr.Slider) -> None:
    """Word and numbers follow each other in the browser, without a request, so that a click on Generate right after finds them so."""
    word.input(None, [word, sampler, steps], [sampler, steps], js=_CHOSEN)
    for field in (sampler, steps):
        field.input(None, [sampler, steps], word, js=_BY_HAND)


def word_for(sampler: str, steps: int) -> str:
    """The word for these numbers."""
    return next((word for word, preset in PRESETS.items() if preset == (sampler, steps)), CUSTOM)
