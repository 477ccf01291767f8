"""What the buttons of the lessons have computed: it stays until something changes that it depends on."""

import re

import pytest

from diffusion_demo.ui.inspect import lesson_handlers, tab
from diffusion_demo.ui.inspect.examples import default_images
from diffusion_demo.ui.page import build
from diffusion_demo.ui.server import warmup

FIRST, SECOND = map(str, default_images())


def inputs(image=FIRST, seed=0, t=0.3, model="oracle-memory"):
    return [image, None, seed, t, model, 50, 50]


def answer(handler, *values):
    """Return the last HTML and the last results that a handler, outside the queue, has yielded."""
    updates = list(handler.__wrapped__(*values, {}))
    return [[update[i] for update in updates if type(update[i]) is kind][-1] for i, kind in ((0, str), (1, dict))]


@pytest.fixture(autouse=True, scope="module")
def ready():
    """The handlers wait until the server has loaded."""
    warmup._ready.set()


@pytest.fixture(scope="module")
def measured():
    return answer(lesson_handlers.compute_whole_bound, *inputs())


@pytest.mark.parametrize(
    ("change", "is_kept"),
    [({"t": 0.7}, True), ({"seed": 1}, False), ({"image": SECOND}, False), ({"model": "oracle-mixture"}, False)],
)
def test_a_bound_over_all_steps_stays_when_t_moves_and_only_then(measured, change, is_kept):
    shown = str(lesson_handlers.show_lesson("likelihood", *inputs(**change), measured[1]))
    assert ("here in 1,000 steps" in shown) == is_kept
    if is_kept:
        assert "At t = 700 the reverse step costs" in shown and 'data-t="700"' in shown
        total = re.compile('class="total">(.*?)<')
        assert total.findall(shown) == total.findall(measured[0])


@pytest.mark.parametrize(
    ("change", "is_kept"),
    [({"t": 0.3}, True), ({"image": SECOND}, True), ({"seed": 1}, False), ({"model": "oracle-memory"}, False)],
)
def test_finished_images_stay_until_the_model_or_the_noise_changes(change, is_kept):
    at_first = {"model": "avatars-32", "t": 0.8}
    key = lesson_handlers.result_key("guidance", lesson_handlers.load_scene_of(*inputs(**at_first)), inputs(**at_first))
    kept = {"guidance": lesson_handlers.KeptResult(key, "<p>finished images</p>")}
    shown = str(lesson_handlers.show_lesson("guidance", *inputs(**at_first | change), kept))
    assert ("finished images</p>" in shown.split("In code")[0].replace("finished images.</p>", "")) == is_kept


def test_an_empty_field_says_which_image_is_blended_in():
    empty, chosen = (
        lesson_handlers.load_scene_of(FIRST, other, 0, 0.3, "oracle-memory", 50, 50) for other in (None, SECOND)
    )
    assert "the second example" in empty.other_name and chosen.other_name == "the image under <em>Blend with</em>"


def test_one_event_alone_sets_the_model_when_the_page_loads():
    """Two events that both set it overwrite each other, and a link opens on the default model."""
    page = build()
    (model,) = (block for block in page.blocks.values() if getattr(block, "elem_id", None) == "lesson-model")
    setters = [
        function.name
        for function in page.fns.values()
        if model in function.outputs and any(event == "load" for _, event in function.targets)
    ]
    assert setters == [tab._open_link.__name__]
