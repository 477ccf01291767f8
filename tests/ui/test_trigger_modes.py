"""What a visitor enters while the last answer is pending must not be lost."""

from diffusion_demo.ui.page import build

ENTERED = {"input", "release", "change", "blur"}


def test_every_handler_of_an_input_takes_the_last_value():
    handlers = [
        (function.name, events, function.trigger_mode)
        for function in build().fns.values()
        if function.fn is not None and (events := ENTERED & {event for _, event in function.targets})
    ]
    assert len(handlers) > 15
    assert not [handler for handler in handlers if handler[2] != "always_last"]
