"""The plan of a compare grid: what each cell is, that all ask the network equally often, and what is refused."""

from dataclasses import replace

import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.comparison import MAX_CELLS, Axis, Comparison, axis, fit_steps_to_calls, network_calls
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.presets import DEFAULT_ETA
from diffusion_demo.sampling.request import Request
from tests.conftest import CLASSES

BASE = Request(num_images=2, seed=5, guidance_scale=2.0, precision="fp32")


def cells(across, down=None, calls=16, base=BASE, about=None):
    known = {"a": about or CheckpointMetadata(16, 3, 1000, CLASSES, guidance=True), "b": CheckpointMetadata(16, 3, 100)}
    return Comparison(base, "a", across, down, calls).cells(known.__getitem__)


def counted(checkpoint, request):
    """How many images the network is really asked about, for each that is made."""
    asked = []
    hook = checkpoint.unet.register_forward_pre_hook(lambda network, arguments: asked.append(len(arguments[0])))
    try:
        last_step(sample(checkpoint, request))
    finally:
        hook.remove()
    return sum(asked) / request.num_images


@pytest.mark.parametrize("sampler", ["dpm_solver", "ddim", "ddpm"])
@pytest.mark.parametrize(("scale", "interval"), [(1.0, None), (2.0, None), (2.0, (200, 800))])
def test_every_cell_asks_the_network_as_often_as_it_says(checkpoint, sampler, scale, interval):
    base = replace(BASE, guidance_interval=interval)
    grid = cells(axis("sampler", "dpm_solver, ddim, ddpm"), axis("guidance_scale", f"{scale}"), calls=9, base=base)
    cell = next(cell for cell in grid if cell.request.sampler == sampler)
    request = fit_steps_to_calls(cell, checkpoint.diffusion)
    calls = network_calls(request, checkpoint.diffusion)
    assert calls == counted(checkpoint, request) <= 9
    more = replace(request, steps=request.steps + 1)
    assert network_calls(more, checkpoint.diffusion) > 9, "a step more would still have been allowed"


def test_guided_cells_take_half_the_steps_of_unguided_ones(checkpoint):
    one, two = (
        fit_steps_to_calls(cell, checkpoint.diffusion) for cell in cells(axis("guidance_scale", "1, 3"), calls=20)
    )
    assert (one.steps, two.steps) == (20, 10)


def test_steps_as_an_axis_are_taken_as_they_are(checkpoint):
    grid = cells(axis("steps", "3, 7"), axis("guidance_scale", "1, 2"))
    assert [
        (cell.row, cell.column, cell.request.guidance_scale, fit_steps_to_calls(cell, checkpoint.diffusion).steps)
        for cell in grid
    ] == [
        (0, 0, 1, 3),
        (0, 1, 1, 7),
        (1, 0, 2, 3),
        (1, 1, 2, 7),
    ]


def test_calls_as_an_axis_are_budgets():
    assert [cell.calls for cell in cells(axis("calls", "8, 32"), axis("seed", "1, 2"))] == [8, 32, 8, 32]


def test_a_model_is_done_with_before_the_next_is_loaded():
    plain = replace(BASE, guidance_scale=1.0)
    for across, down in (
        (axis("checkpoint", "b, a"), axis("seed", "1, 2")),
        (axis("seed", "1, 2"), axis("checkpoint", "b, a")),
    ):
        assert [cell.checkpoint for cell in cells(across, down, base=plain)] == ["b", "b", "a", "a"]


def test_classes_by_name_or_mixed():
    assert [cell.request.class_index for cell in cells(axis("class", "mixed, two"))] == [None, CLASSES.index("two")]


def test_values_are_numbers_or_names_once_each():
    assert axis("guidance_scale", " 1, 2.5,1 ,") == Axis("guidance_scale", (1.0, 2.5))
    assert axis("class", "three, one", CLASSES) == Axis("class", ("three", "one"))


def test_compared_samplers_have_their_usual_eta_unless_eta_is_compared(checkpoint):
    samplers, base = axis("sampler", "dpm_solver, ddim"), replace(BASE, eta=0.25)
    assert [cell.request.eta for cell in cells(samplers, None, calls=9, base=base)] == [DEFAULT_ETA["dpm_solver"], 0]
    assert {cell.request.eta for cell in cells(samplers, axis("eta", "0.1"), calls=9, base=base)} == {0.1}


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("sampler", "euler", "no sampler 'euler'"),
        ("steps", "3, many", "whole number, not 'many'"),
        ("steps", "2.5", "whole number"),
        ("eta", "much", "must be a number"),
        ("seed", " , ", "at least one value of the seed"),
        ("color", "red", "no setting 'color'"),
    ],
)
def test_values_that_cannot_be_are_refused(name, words, sentence):
    with pytest.raises(BadInput, match=sentence):
        axis(name, words, ("dpm_solver", "ddim", "ddpm") if name == "sampler" else ())


@pytest.mark.parametrize(
    ("across", "down", "changes", "sentence"),
    [
        (axis("seed", "1"), axis("seed", "2"), {}, "Both sides vary the seed"),
        (
            axis("seed", ",".join(map(str, range(13)))),
            axis("eta", "0, 0.2, 0.4, 0.6, 0.8"),
            {},
            f"65 cells; {MAX_CELLS} are the most",
        ),
        (axis("calls", "1"), None, {}, "at least 2 network calls"),
        (axis("calls", "5000"), None, {}, "Steps must be|steps"),
        (axis("steps", "0"), None, {}, "steps|Steps"),
        (axis("eta", "2"), None, {}, "Eta must be"),
        (axis("checkpoint", "b"), None, {}, "without a null class"),
        (axis("class", "nine"), None, {}, "no class 'nine'"),
    ],
)
def test_grids_that_cannot_be_are_refused_before_anything_is_made(across, down, changes, sentence):
    with pytest.raises(BadInput, match=sentence):
        cells(across, down, base=replace(BASE, **changes))
