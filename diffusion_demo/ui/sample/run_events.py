"""Events of a run on the Sample tab: its start, its results, its end and Stop."""

import json
from collections.abc import Callable, Mapping

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from diffusion_demo.ui.event_options import INSTANT_EVENT
from diffusion_demo.ui.named_outputs import with_named_outputs
from diffusion_demo.ui.preview.preview import dispatch_event, idle_buttons
from diffusion_demo.ui.sample import browser_history, words

RANDOM_SEEDS = 1_000_000
# JavaScript of event listeners: the buttons from the click until the run starts, and a seed drawn if it is asked for.
# In the browser, so that a click is acknowledged without a request.
_WAITING = (
    f"{{__type__: 'update', value: {json.dumps(words.WAITING)}, interactive: false}}, "
    "{__type__: 'update', interactive: true}"
)
_BEGIN = f"() => [{_WAITING}]"
STOP_SECONDS = 10  # Start is enabled after this time even if the server has not confirmed the stop
_BEGIN_WITH_SEED = f"(random, seed) => [{_WAITING}, random ? Math.floor({RANDOM_SEEDS} * Math.random()) : seed]"


def _stopping(start: gr.Button) -> str:
    # If the start button is enabled or missing, the run belongs to the other mode, which shares the stop button.
    return f"""() => [
      document.getElementById("{start.elem_id}")?.disabled
        ? {{__type__: 'update', value: {json.dumps(words.STOPPING)}, interactive: false}} : {{__type__: 'update'}},
      {{__type__: 'update', interactive: false}},
    ]"""


def _give_up_waiting(start: gr.Button, start_label: str) -> str:
    # For an event after the click: Gradio 6.31 awaits each listener of a click before it calls the next one.
    idle = f"[{{__type__: 'update', value: {json.dumps(start_label)}, interactive: true}}, {{__type__: 'update'}}]"
    return f"""async () => {{
      await new Promise((done) => setTimeout(done, {1000 * STOP_SECONDS}));
      const isStuck = document.getElementById("{start.elem_id}")?.textContent.includes({json.dumps(words.STOPPING)});
      return isStuck ? {idle} : [{{__type__: 'update'}}, {{__type__: 'update'}}];
    }}"""


def connect_run(
    handler: Callable,
    api_name: str,
    start_label: str,
    inputs: Mapping[str, Component],
    outputs: Mapping[str, Component],
    images: Component,
    stage: str | None = None,
    randomize: gr.Checkbox | None = None,
) -> tuple[Dependency, Dependency]:
    """Connect a run to the buttons `start` and `stop` of `outputs`, and return the events of the run and of Stop.

    handler: gets the inputs by name, which are those of the API too, and yields updates by the names of `outputs`.
    images: the output whose images go to the history. stage: the elem_id of the preview, which is told of a failure.
    randomize: whether each run draws a new seed for inputs["seed"].
    """
    buttons = {name: outputs[name] for name in ("start", "stop")}
    start: gr.Button = buttons["start"]  # pyright: ignore[reportAssignmentType]
    stop: gr.Button = buttons["stop"]  # pyright: ignore[reportAssignmentType]
    become_idle = with_named_outputs(lambda: idle_buttons(start_label), buttons)
    seed = [inputs["seed"]] if randomize else []
    begin = _BEGIN_WITH_SEED if randomize else _BEGIN
    clicked = start.click(None, [randomize, *seed] if randomize else None, [*buttons.values(), *seed], js=begin)
    run = clicked.then(
        with_named_outputs(handler, outputs),
        inputs_kwargs=dict(inputs),
        outputs=[*outputs.values()],
        api_name=api_name,
        concurrency_limit=None,
        show_progress="hidden",
        trigger_mode="always_last",  # a click before Gradio has taken note of the end must not be lost
    )
    run.success(None, images, None, js=browser_history.ADD_RESULTS)
    # A stopped run fails, too, once it is closed. Before that, Gradio 6.31 would take the next run for the stopped one.
    run.failure(become_idle, None, [*buttons.values()], **INSTANT_EVENT)
    if stage:
        run.failure(None, None, None, js=dispatch_event(stage, "run-failed"))
    stopped = stop.click(None, None, [*buttons.values()], js=_stopping(start), cancels=[run], **INSTANT_EVENT)
    stopped.then(None, None, [*buttons.values()], js=_give_up_waiting(start, start_label))
    return run, stopped
