"""Publishing from the Train tab: with the token of the machine, on one's own page only."""

import shutil

from tests.browser.servers import Visitor, serving
from tests.hub.fake_hub import TOKEN

NAMES = {"Run": "mine", "Name on the Hub": "me/from-the-page", "License": "mit", "Private": True}


def inputs_of(visitor, number, **named):
    components = [visitor.components[i]["props"] for i in visitor.functions[number]["inputs"]]
    return [named.get(props.get("label"), props.get("value")) for props in components]


def publish_number(visitor):
    """Return the number of the endpoint of the button Publish; None if there is none."""
    buttons = {i for i, one in visitor.components.items() if one["props"].get("elem_id") == "train-publish-start"}
    found = (n for n, d in visitor.functions.items() if any(target[0] in buttons for target in d["targets"]))
    return next(found, None)


def load_runs(visitor, number):
    """Run the page's load event that lists the runs, as a browser does. The first input of Publish is the list."""
    run = visitor.functions[number]["inputs"][0]
    loads = [n for n, d in visitor.functions.items() if "load" in {t[1] for t in d["targets"]} and run in d["outputs"]]
    assert all(visitor.call(n, inputs_of(visitor, n)).succeeded for n in loads) and loads


def test_a_run_is_published_from_the_page(trained_run, hub, tmp_path):
    shutil.copytree(trained_run, tmp_path / "runs" / "mine")
    with serving(tmp_path, hub.environment(tmp_path / "hf")) as server:
        visitor = Visitor(server.url)
        number = publish_number(visitor)
        assert number is not None
        load_runs(visitor, number)
        done = visitor.call(number, inputs_of(visitor, number, **NAMES), timeout=120)
        assert done.succeeded, done.error
        assert done.completed["output"]["data"][0].startswith(f"Published as [me/from-the-page]({hub.url}/me/from")
        bad = {"License": None}, {"Name on the Hub": "no slash"}, {"License": "mine"}, {"Run": "../mine"}
        errors = [visitor.call(number, inputs_of(visitor, number, **NAMES | one)).error or "" for one in bad]
        assert errors[0] == "Choose a license." and "must be USER/NAME" in errors[1] and all(errors), errors
        assert TOKEN not in server.log_text() + done.text
    assert set(hub.repos) == {"me/from-the-page"}
    assert hub.repos["me/from-the-page"].created_with["visibility"] == "private"
    assert "samples.png" in hub.repos["me/from-the-page"].files
    run_files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert run_files and not [path for path in run_files if TOKEN.encode() in path.read_bytes()]


def test_a_public_page_does_not_offer_the_token_of_its_host(hub, tmp_path):
    environment = hub.environment(tmp_path / "hf") | {"DIFFUSION_DEMO_PUBLIC": "on", "DIFFUSION_DEMO_TRAINING": "on"}
    with serving(tmp_path, environment) as server:
        assert publish_number(Visitor(server.url)) is None
    assert not hub.requests
