"""Details of events: every handler that takes them has a schema, which drops what it does not name."""

from types import SimpleNamespace

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.page import build
from diffusion_demo.ui.server import event_details, input_guard
from diffusion_demo.ui.server.event_details import (
    ChosenFix,
    InterruptedSampling,
    ShownImage,
    ShownSettings,
    with_details,
)
from diffusion_demo.ui.server.input_guard import GuardedBlocks
from diffusion_demo.ui.settings import Settings


def handler_of(schema):
    @with_details(schema)
    def handler(event: gr.EventData):
        return event

    return handler


def details(schema, sent):
    """Return the details that a handler gets. Raises BadInput."""
    event = event_details.checked_details(handler_of(schema), gr.EventData(None, sent))
    assert event is not None
    return event._data


def test_every_handler_of_the_page_that_takes_details_has_a_schema():
    page = build()
    schemas = [event_details.schema_of_details(function.fn) for function in page.fns.values()]
    assert {ShownSettings, InterruptedSampling, ShownImage, ChosenFix} == set(schemas) - {None}


def test_no_event_with_details_is_repeated():
    """Gradio dispatches a deferred event again with the details of the event that was pending."""
    functions = [function for function in build().fns.values() if event_details.schema_of_details(function.fn)]
    assert functions and not [function.name for function in functions if function.trigger_mode == "always_last"]


def test_a_page_with_details_that_have_no_schema_does_not_start():
    def careless(event: gr.EventData):
        return event

    with GuardedBlocks(Settings()) as page:
        gr.Button().click(careless, None, None)
    with pytest.raises(TypeError, match="without a schema"):
        page.launch(prevent_thread_lock=True)


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (ShownSettings, {"settings": {"seed": 5, "guidance_interval": [400, 900], "upsampler": None}}),
        (ShownImage, {"checkpoint": "avatars-32", "class": "cat"}),
        (ShownImage, {"checkpoint": None, "class": None}),
        (ChosenFix, {"fix": "duplicates"}),
        (InterruptedSampling, {"settings": {"seed": 1}, "num_images": 4, "label": "robot"}),
    ],
)
def test_what_the_page_sends_arrives(schema, sent):
    assert details(schema, sent | {"unknown": {"path": "x"}}) == sent


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (ShownSettings, {"settings": "x"}),
        (ShownSettings, {"settings": {"x" * 65: 1}}),
        (ShownSettings, {"settings": {str(i): i for i in range(101)}}),
        (ShownSettings, [1]),
        (ShownImage, {"checkpoint": ["avatars-32"]}),
        (ShownImage, {"checkpoint": "x" * 301}),
        (ShownImage, {"class": 1.5}),
    ],
)
def test_other_details_are_refused_in_one_sentence(schema, sent):
    with pytest.raises(BadInput) as refused:
        details(schema, sent)
    assert str(refused.value) == event_details.MALFORMED


@pytest.mark.parametrize(
    "value",
    [{"path": "/etc/passwd"}, [[{"a": {"path": "x"}}]], list(range(1000)), "x" * 100_001, [[[[[[[[[[[[5]]]]]]]]]]]]],
    ids=["file", "file inside", "items", "text", "depth"],
)
def test_details_are_small_and_name_no_file(value):
    function = SimpleNamespace(fn=handler_of(ShownSettings))
    event = input_guard._checked_event(function, gr.EventData(None, {"settings": {"seed": [{"a": 5}]}}))
    assert event is not None and event._data == {"settings": {"seed": [{"a": 5}]}}
    with pytest.raises(BadInput) as refused:
        input_guard._checked_event(function, gr.EventData(None, {"settings": {"seed": value}}))
    assert str(refused.value) == input_guard.INVALID_INPUT


def test_a_handler_that_takes_no_details_gets_none():
    assert event_details.checked_details(lambda: None, gr.EventData(None, {"a": 1})) is None
    assert event_details.checked_details(handler_of(ShownImage), None) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.sampled_from([ShownSettings, InterruptedSampling, ShownImage, ChosenFix]),
    JSON | st.dictionaries(st.sampled_from(["settings", "checkpoint", "class", "fix"]), JSON),
)
def test_any_details_are_accepted_or_refused_in_one_sentence(schema, sent):
    try:
        assert isinstance(details(schema, sent), dict)
    except BadInput as error:
        assert str(error) == event_details.MALFORMED
