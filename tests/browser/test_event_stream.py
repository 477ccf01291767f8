"""Gradio's event stream: browser tests of events that its client would lose or repeat."""

import json

import pytest
from playwright.sync_api import expect

from diffusion_demo.ui.inspect.examples import examples
from tests.browser.conftest import DESKTOP
from tests.browser.test_lessons import BUSY, SOON, let_t_go_at, open_inspect

# Delays "close_stream" until the next event has been accepted.
CLOSE_LATE = """
const plain = window.fetch;
let accepted = () => {};
window.fetch = async (resource, options) => {
  const address = resource.url || String(resource), response = await plain(resource, options);
  if (address.includes("queue/join")) setTimeout(accepted, 300);
  if (!address.includes("queue/data")) return response;
  const hold = async (text, controller) => {
    const at = text.search(/data: {[^\\n]*"close_stream"/);
    controller.enqueue(at < 0 ? text : text.slice(0, at));
    if (at < 0) return;
    const next = new Promise((resolve) => { accepted = resolve; });
    window.isClosing = true;
    await next;
    controller.enqueue(text.slice(at));
  };
  const held = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new TransformStream({ transform: hold }));
  return new Response(held.pipeThrough(new TextEncoderStream()), response);
};
"""
# Delays the answer that an event was accepted, so that the event can be canceled before the page knows its id.
ACCEPT_LATE = """
const plain = window.fetch;
window.fetch = async (resource, options) => {
  const response = await plain(resource, options);
  const address = resource.url || String(resource);
  if (address.includes("queue/join")) await new Promise((resolve) => setTimeout(resolve, 1500));
  return response;
};
"""


@pytest.fixture
def run_first(open_page):
    """A function that opens the Inspect tab and runs a script before those of the page."""

    def open_one(script: str, query=""):
        return open_inspect(lambda *options: open_page(*options, script=script), DESKTOP, query=query)

    return open_one


def test_an_event_sent_while_the_stream_closes_is_answered(run_first):
    page = run_first(CLOSE_LATE)
    page.wait_for_function("window.isClosing", timeout=SOON)
    expect(page.locator("#lesson")).not_to_have_class(BUSY, timeout=SOON)
    page.evaluate("window.isClosing = false")
    let_t_go_at(page, 700)
    page.locator('#lesson:not(.busy) .panel[data-t="700"]').wait_for(timeout=SOON)


def test_an_event_can_be_canceled_before_it_is_accepted(run_first):
    page = run_first(ACCEPT_LATE, query="&lesson=reverse&t=300")
    page.locator('#lesson:not(.busy) .panel[data-lesson="reverse"][data-t="300"]').wait_for(timeout=SOON)
    with page.expect_request("**/queue/join*"):
        page.get_by_role("button", name="Take all steps from here").click()
    with page.expect_response("**/cancel") as canceled:
        let_t_go_at(page, 400)
    assert canceled.value.ok and json.loads(canceled.value.request.post_data)["event_id"]
    page.locator('#lesson:not(.busy) .panel[data-t="400"]').wait_for(timeout=SOON)


def test_a_page_at_rest_sends_no_events(open_page):
    """Gradio fires an image's change event whenever it renders the image. That must not run the handlers again."""
    page, joined = open_page(query="&lesson=reverse&t=300"), []
    page.on("request", lambda request: joined.append(request.post_data) if "queue/join" in request.url else None)

    def check() -> None:
        for _ in range(10):  # until the events of the last change are over
            before = len(joined)
            page.wait_for_timeout(2000)
            if len(joined) == before:
                return
        pytest.fail(f"{len(joined)} events, the last of them {joined[-2:]}")

    check()
    page.get_by_role("tab", name="Inspect").click()
    page.locator('#lesson:not(.busy) .panel[data-lesson="reverse"][data-t="300"]').wait_for(timeout=SOON)
    check()
    for field in ("#inspect-image", "#mix-with"):
        page.locator(f"{field} input[type=file]").first.set_input_files(examples()["lion"])
        page.locator(f"{field} img").wait_for()
        check()
    page.get_by_role("tab", name="Sample").click()
    check()
