"""Session pruning frees memory and keeps sessions working."""

import gradio as gr
import pytest
from gradio_client import Client

from diffusion_demo.ui.server import session_leak

pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio.queueing")


def respond(name):
    yield gr.Button(interactive=False), gr.skip()
    yield gr.Button(f"for {name}"), f"<b>{name}</b>"


@pytest.fixture
def page():
    """A running server whose button changes on every click, like the page's Generate button."""
    with gr.Blocks() as blocks:
        name, button, output = gr.Textbox(), gr.Button("go"), gr.HTML()
        button.click(respond, name, [button, output], api_name="press")
    blocks.launch(prevent_thread_lock=True, quiet=True, server_port=None)
    yield blocks
    blocks.close()


def stored(page):
    """Return the number of stored configurations and components of the only session."""
    (session,) = page.state_holder.session_data.values()
    return dict.__len__(session.config_values), len(session.blocks_config.blocks)


def test_a_pruned_session_keeps_working(page):
    client = Client(page.local_url, verbose=False)
    results = [client.predict(name, api_name="/press") for name in ("a", "b")]
    before = stored(page)
    results.append(client.predict("c", api_name="/press"))
    assert stored(page) > before > (3, 3), "Gradio stores more with every click"
    for name in ("d", "e"):
        session_leak.remove_extra_components(page)
        assert stored(page) == (0, len(page.blocks))
        results.append(client.predict(name, api_name="/press"))
    assert results == [f"<b>{name}</b>" for name in "abcde"]
