"""Web page: the three tabs with their header and footer."""

from diffusion_demo.ui import before_imports  # noqa: F401  before gradio and torch

# isort: split
import gradio as gr

from diffusion_demo.ui import mcp_tools
from diffusion_demo.ui.event_options import UNLIMITED_EVENT
from diffusion_demo.ui.inspect import tab as inspect_tab
from diffusion_demo.ui.sample import tab as sample_tab
from diffusion_demo.ui.server import run_ownership
from diffusion_demo.ui.server.input_guard import GuardedBlocks
from diffusion_demo.ui.server.page_head import TITLE
from diffusion_demo.ui.settings import settings
from diffusion_demo.ui.train import tab as train_tab

INTRODUCTION = """# Diffusion Demo
Watch a small AI model turn random noise into images, {where}."""
CREDITS = """The avatar models were trained on drawings by [DiceBear](https://www.dicebear.com) (CC0 1.0).
The mathematics: [DDPM](https://arxiv.org/abs/2006.11239), [Improved DDPM](https://arxiv.org/abs/2102.09672), \
[Guided Diffusion](https://arxiv.org/abs/2105.05233)."""

# JavaScript of event listeners: only the Train tab asks for the status of runs. While the page loads, Gradio 6.31 may
# lose the `select` of a tab or deliver two in the wrong order, so what counts is the tab that is open a moment later.
_POLL_IF_SHOWN = """async () => {
  await new Promise((done) => setTimeout(done, 200));
  return {__type__: "update", active: Boolean(document.querySelector("#train-results")?.checkVisibility())};
}"""


def build() -> GuardedBlocks:
    """Build the whole page. No model is loaded here."""
    max_age = 60 * settings().temporary_minutes
    with GuardedBlocks(
        settings(), title=TITLE, analytics_enabled=False, delete_cache=(min(max_age, 3600), max_age)
    ) as page:
        where = "right in this Space" if settings().space else "right on this computer"
        gr.Markdown(INTRODUCTION.format(where=where), elem_id="introduction")
        # Not in a tab: Gradio 6.31 reads the browser's storage when it mounts a component, which in a tab is too late.
        owner = run_ownership.browser_token_component()
        with gr.Tabs() as tabs:
            with gr.Tab("Sample", id="sample", elem_id="sample-tab") as sample:
                model_fields = sample_tab.build(page)
            with gr.Tab("Train", id="train", elem_id="train-tab") as train:
                timer, start_from = train_tab.build(page, tabs, owner, model_fields)
            with gr.Tab("Inspect", id="inspect", elem_id="inspect-tab") as inspect:
                lesson_model = inspect_tab.build(page, tabs)
        sample.select(sample_tab.refresh_models, model_fields[:2], model_fields, **UNLIMITED_EVENT)
        train.select(train_tab.refresh_initial_models, start_from, start_from, **UNLIMITED_EVENT)
        inspect.select(inspect_tab.refresh_models, lesson_model, lesson_model, **UNLIMITED_EVENT)
        for shown in (page.load, sample.select, train.select, inspect.select):
            shown(None, None, timer, js=_POLL_IF_SHOWN)
        gr.Markdown(CREDITS, elem_id="credits")
        mcp_tools.build()
    return page
