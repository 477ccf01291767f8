"""Handlers that return their updates by name."""

import gradio as gr
import pytest

from diffusion_demo.ui.named_outputs import with_named_outputs


@pytest.fixture
def outputs():
    with gr.Blocks():
        return {"first": gr.Textbox("a"), "second": gr.Number(1)}


def test_updates_by_name_become_updates_by_component(outputs):
    handler = with_named_outputs(lambda x: {"second": x, "first": "b"}, outputs)
    assert handler(3) == {outputs["second"]: 3, outputs["first"]: "b"}


def test_a_name_that_is_no_output_is_an_error(outputs):
    with pytest.raises(KeyError, match="third"):
        with_named_outputs(lambda: {"third": 3}, outputs)()


def test_a_generator_stays_one_and_closes_its_handler(outputs):
    closed = []

    def handler(*, count):
        try:
            for i in range(count):
                yield {"second": i}
        finally:
            closed.append(True)

    updates = with_named_outputs(handler, outputs)(count=3)
    assert next(updates) == {outputs["second"]: 0} and not closed
    updates.close()
    assert closed == [True]


def test_gradio_passes_inputs_by_name_and_leaves_other_outputs_alone(outputs):
    with gr.Blocks() as page:
        first, second = gr.Textbox("a"), gr.Number(1, precision=0)
        named = {"first": first, "second": second}
        handler = with_named_outputs(lambda *, number, text: {"second": number + len(text)}, named)
        button = gr.Button()
        button.click(handler, inputs_kwargs={"text": first, "number": second}, outputs=[first, second], api_name="add")
    (endpoint,) = page.get_api_info()["named_endpoints"].values()
    assert [parameter["parameter_name"] for parameter in endpoint["parameters"]] == ["text", "number"]
