"""What gradio keeps of a visit is let go, and the visit goes on."""

import gradio as gr
import pytest
from gradio_client import Client

from diffusion_demo.ui.server import session_pruning

pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio.queueing")


def pressed(name):
    yield gr.Button(interactive=False), gr.skip()
    yield gr.Button(f"for {name}"), f"<b>{name}</b>"


@pytest.fixture
def page():
    """A served page whose button changes with every press, as the one that generates does."""
    with gr.Blocks() as blocks:
        name, button, said = gr.Textbox(), gr.Button("go"), gr.HTML()
        button.click(pressed, name, [button, said], api_name="press")
    blocks.launch(prevent_thread_lock=True, quiet=True, server_port=None)
    yield blocks
    blocks.close()


def kept(page):
    (visit,) = page.state_holder.session_data.values()
    return dict.__len__(visit.config_values), len(visit.blocks_config.blocks)


def test_a_visit_that_goes_on_keeps_nothing_of_its_past(page):
    visitor = Client(page.local_url, verbose=False)
    press = [visitor.predict(name, api_name="/press") for name in ("a", "b")]
    before = kept(page)
    press.append(visitor.predict("c", api_name="/press"))
    assert kept(page) > before > (3, 3), "gradio keeps more with every press"
    for name in ("d", "e"):
        session_pruning.prune_sessions(page)
        assert kept(page) == (0, len(page.blocks))
        press.append(visitor.predict(name, api_name="/press"))
    assert press == [f"<b>{name}</b>" for name in "abcde"]
