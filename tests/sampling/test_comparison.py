"""Comparison grid: its cells, their equal budgets of network calls, and invalid grids."""

from dataclasses import replace

import pytest

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.sampling.comparison import (
    MAX_CELLS,
    Axis,
    Comparison,
    fit_steps_to_calls,
    network_calls,
    parse_axis,
)
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.presets import DEFAULT_ETA
from diffusion_demo.sampling.request import Request
from tests.conftest import CLASSES

BASE = Request(num_images=2, seed=5, guidance_scale=2.0, precision="fp32")


def cells(across, down=None, calls=16, base=BASE, metadata=None):
    known = {
        "a": metadata or CheckpointMetadata(16, 3, 1000, CLASSES, guidance=True),
        "b": CheckpointMetadata(16, 3, 100),
    }
    return Comparison(base, "a", across, down, calls).cells(known.__getitem__)


def count_calls(checkpoint, request):
    """Return the network calls per image, counted with a hook."""
    batch_sizes = []
    hook = checkpoint.unet.register_forward_pre_hook(lambda network, arguments: batch_sizes.append(len(arguments[0])))
    try:
        last_step(sample(checkpoint, request))
    finally:
        hook.remove()
    return sum(batch_sizes) / request.num_images


@pytest.mark.parametrize("sampler", ["dpm_solver", "ddim", "ddpm"])
@pytest.mark.parametrize(("scale", "interval"), [(1.0, None), (2.0, None), (2.0, (200, 800))])
def test_every_cell_makes_the_network_calls_it_reports(checkpoint, sampler, scale, interval):
    base = replace(BASE, guidance_interval=interval)
    grid = cells(
        parse_axis("sampler", "dpm_solver, ddim, ddpm"), parse_axis("guidance_scale", f"{scale}"), calls=9, base=base
    )
    cell = next(cell for cell in grid if cell.request.sampler == sampler)
    request = fit_steps_to_calls(cell, checkpoint.diffusion)
    calls = network_calls(request, checkpoint.diffusion)
    assert calls == count_calls(checkpoint, request) <= 9
    assert isinstance(request.steps, int)
    more = replace(request, steps=request.steps + 1)
    assert network_calls(more, checkpoint.diffusion) > 9, "one more step would still fit the budget"


def test_guided_cells_take_half_the_steps_of_unguided_ones(checkpoint):
    one, two = (
        fit_steps_to_calls(cell, checkpoint.diffusion)
        for cell in cells(
            parse_axis("guidance_scale", "1, 3"), calls=20, base=replace(BASE, guidance_interval=(0, 999))
        )
    )
    assert (one.steps, two.steps) == (20, 10)


def test_steps_as_an_axis_are_not_changed(checkpoint):
    grid = cells(parse_axis("steps", "3, 7"), parse_axis("guidance_scale", "1, 2"))
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
    assert [cell.calls for cell in cells(parse_axis("calls", "8, 32"), parse_axis("seed", "1, 2"))] == [8, 32, 8, 32]


def test_cells_are_grouped_by_model():
    plain = replace(BASE, guidance_scale=1.0)
    for across, down in (
        (parse_axis("checkpoint", "b, a"), parse_axis("seed", "1, 2")),
        (parse_axis("seed", "1, 2"), parse_axis("checkpoint", "b, a")),
    ):
        assert [cell.checkpoint for cell in cells(across, down, base=plain)] == ["b", "b", "a", "a"]


def test_classes_by_name_or_mixed():
    assert [cell.request.class_index for cell in cells(parse_axis("class", "mixed, two"))] == [
        None,
        CLASSES.index("two"),
    ]


def test_values_are_parsed_without_duplicates():
    assert parse_axis("guidance_scale", " 1, 2.5,1 ,") == Axis("guidance_scale", (1.0, 2.5))
    assert parse_axis("class", "three, one", CLASSES) == Axis("class", ("three", "one"))


def test_compared_samplers_use_their_default_eta_unless_eta_is_an_axis(checkpoint):
    samplers, base = parse_axis("sampler", "dpm_solver, ddim"), replace(BASE, eta=0.25)
    etas = [cell.request.resolved(checkpoint.diffusion).eta for cell in cells(samplers, None, calls=9, base=base)]
    assert etas == [DEFAULT_ETA["dpm_solver"], 0]
    assert {cell.request.eta for cell in cells(samplers, parse_axis("eta", "0.1"), calls=9, base=base)} == {0.1}


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("sampler", "euler", "no sampler 'euler'"),
        ("steps", "3, many", 'Steps must be whole numbers \\("many" isn.t one'),
        ("steps", "2.5", "Steps must be whole numbers"),
        ("eta", "much", "Eta values must be numbers"),
        ("seed", " , ", "at least one value of the seed"),
        ("color", "red", "no setting 'color'"),
    ],
)
def test_invalid_values_are_rejected(name, words, message):
    with pytest.raises(BadInput, match=message):
        parse_axis(name, words, ("dpm_solver", "ddim", "ddpm") if name == "sampler" else ())


@pytest.mark.parametrize(
    ("across", "down", "changes", "message"),
    [
        (parse_axis("seed", "1"), parse_axis("seed", "2"), {}, "Both sides vary the seed"),
        (
            parse_axis("seed", ",".join(map(str, range(13)))),
            parse_axis("eta", "0, 0.2, 0.4, 0.6, 0.8"),
            {},
            f"65 cells, more than the limit of {MAX_CELLS}",
        ),
        (parse_axis("calls", "8"), parse_axis("steps", "4"), {}, "The number of steps determines the network calls"),
        (parse_axis("steps", "4"), parse_axis("calls", "8"), {}, "The number of steps determines the network calls"),
        (parse_axis("calls", "1"), None, {}, "at least 2 network calls"),
        (parse_axis("calls", "5000"), None, {}, "Steps must be|steps"),
        (parse_axis("steps", "0"), None, {}, "steps|Steps"),
        (parse_axis("eta", "2"), None, {}, "Eta must be from 0 to 1, not 2"),
        (parse_axis("checkpoint", "b"), None, {}, "without a null class"),
        (parse_axis("class", "nine"), None, {}, "no class 'nine'"),
    ],
)
def test_invalid_grids_are_rejected(across, down, changes, message):
    with pytest.raises(BadInput, match=message):
        cells(across, down, base=replace(BASE, **changes))
