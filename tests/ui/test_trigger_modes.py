"""What a visitor enters while the last answer is pending must not be lost."""

from diffusion_demo.ui.page import build
from diffusion_demo.ui.train.tab import ANSWERED_ROW, ROW

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


def test_an_action_on_one_run_does_not_drop_that_on_another():
    modes = [function.trigger_mode for function in build().fns.values() if function.js in (ROW, ANSWERED_ROW)]
    assert len(modes) == 8 and set(modes) == {"multiple"}


def test_images_that_come_while_others_are_scanned_are_scanned_next():
    scans = [
        function for function in build().fns.values() if function.name in ("scan_files", "scan_synthetic", "scan_path")
    ]
    assert len(scans) == 3 and {scan.trigger_mode for scan in scans} == {"always_last"}
