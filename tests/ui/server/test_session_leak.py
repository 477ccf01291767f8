"""Sessions without configurations and extra components need less memory and time, and keep working."""

import gradio as gr
import pytest
from gradio import state_holder
from gradio.state_holder import SessionState
from gradio_client import Client

from diffusion_demo.ui.server import session_leak

pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio.queueing")


def respond(name):
    yield gr.Button(interactive=False), gr.skip()
    yield gr.Button(f"for {name}"), f"<b>{name}</b>"


@pytest.fixture
def make_page():
    """Return a function that starts a server whose button changes on every click, like the page's Generate button."""
    pages = []

    def make():
        with gr.Blocks() as blocks:
            name, button, output = gr.Textbox(), gr.Button("go"), gr.HTML()
            button.click(respond, name, [button, output], api_name="press")
        blocks.launch(prevent_thread_lock=True, quiet=True, server_port=None)
        pages.append(blocks)
        return blocks, Client(str(blocks.local_url), verbose=False)

    yield make
    for page in pages:
        page.close()


def stored(page):
    """Return the number of stored configurations and components of the only session."""
    (session,) = page.state_holder.session_data.values()
    return dict.__len__(session.config_values), len(session.blocks_config.blocks)


def test_a_pruned_session_keeps_working(make_page, monkeypatch):
    monkeypatch.setattr(state_holder, "SessionState", SessionState)
    session_leak.keep_no_configs()
    page, client = make_page()
    results = [client.predict(name, api_name="/press") for name in ("a", "b")]
    before = stored(page)
    results.append(client.predict("c", api_name="/press"))
    assert stored(page) > before > (0, 3), "Gradio stores another component with every click"
    for name in ("d", "e"):
        session_leak.remove_extra_components(page)
        assert stored(page) == (0, len(page.blocks))
        results.append(client.predict(name, api_name="/press"))
    assert results == [f"<b>{name}</b>" for name in "abcde"]


@pytest.mark.parametrize("keeps_none", [True, False])
def test_an_update_computes_no_configuration_of_a_component(make_page, monkeypatch, keeps_none):
    monkeypatch.setattr(state_holder, "SessionState", SessionState)
    if keeps_none:
        session_leak.keep_no_configs()
    page, client = make_page()
    client.predict("a", api_name="/press")
    computed = []
    monkeypatch.setattr(gr.Button, "get_config", lambda button: computed.append(button) or {})
    assert client.predict("b", api_name="/press") == "<b>b</b>"
    assert bool(computed) != keeps_none, "Gradio computes one by itself"
    assert page.get_config_file()["components"], "that of the page is still computed"
