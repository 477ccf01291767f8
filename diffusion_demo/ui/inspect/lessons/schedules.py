"""Lesson 2: noise schedules. Its figures and numbers are drawn in the browser, from the tables of `explorer_data`."""

from diffusion_demo.ui.inspect.lessons.html import short
from diffusion_demo.ui.inspect.lessons.scene import Scene


def show(scene: Scene) -> str:
    """Return the sentence that says which schedule the model was trained on."""
    end = float(scene.chain.abar[-1])
    return (
        f'<p class="found">This model was trained on T = {len(scene.chain):,} steps that end at '
        f"ᾱ<sub>T</sub> = {short(end)}. A network works only with the schedule it was trained on, so "
        "the following lessons use that one.</p>"
    )
