"""What a visitor enters while the last answer is pending must not be lost."""

from diffusion_demo.ui.page import build

ENTERED = {"input", "release", "change", "blur"}
RUNS = {"sample", "compare", "vary", "interpolate"}


def test_every_handler_of_an_input_takes_the_last_value():
    handlers = [
        (function.name, events, function.trigger_mode)
        for function in build().fns.values()
        if function.fn is not None and (events := ENTERED & {event for _, event in function.targets})
    ]
    assert len(handlers) > 15
    assert not [handler for handler in handlers if handler[2] != "always_last"]


def test_a_click_during_the_last_update_of_a_run_is_not_lost():
    runs = [function for function in build().fns.values() if function.api_name in RUNS]
    assert len(runs) == len(RUNS)
    assert {function.trigger_mode for function in runs} == {"always_last"}
