"""Data for the loss curves (curves.js, chart.js) and the preview timeline (timeline.js) of a run."""

from pathlib import Path
from typing import Any

from diffusion_demo.training.status import Status
from diffusion_demo.ui import charts
from diffusion_demo.ui.charts import Points
from diffusion_demo.ui.data_uri import data_uri
from diffusion_demo.untrusted_files import read_regular

MAX_PREVIEW_BYTES = 20_000_000
MAX_POINTS, MAX_FRAMES, SMOOTHING = 300, 24, 0.9
STEP, NOISE = "Training step", "Noise, % of the steps (0 = clean image, 100 = pure noise)"
REPORTED, SMOOTHED, VALIDATION = "Training (every 5 steps)", "Training (smoothed)", "Validation"
BANDS = ("Lowest noise", "Low noise", "High noise", "Highest noise")


def curves(status: Status) -> dict[str, Any]:
    """Return the views of a run's losses, without those that have no points yet.

    The first view has the loss as reported, smoothed and on held-out images. The second has the loss by noise level,
    or for a classifier the accuracy on held-out images.
    """
    details = _accuracy(status) if status.task == "classifier" else _by_noise(status)
    return {"views": [view for view in (_loss(status), details) if view["chart"]["series"]]}


def comparison(runs: dict[str, Status]) -> dict[str, Any]:
    """Return a view of the smoothed losses of several runs, by name."""
    lines = {name: smoothed(_losses(status)) for name, status in runs.items()}
    return _view("Compare", "Comparable only with the same loss and data.", _over_steps("Loss", lines))


def _loss(status: Status) -> dict[str, Any]:
    """Return a view of the loss as reported, smoothed and on held-out images."""
    losses, held_out = _losses(status), [(event["step"], event["loss"]) for event in status.held_out]
    chart = _over_steps("Loss", {REPORTED: losses, SMOOTHED: smoothed(losses), VALIDATION: held_out})
    looks = {
        REPORTED: {"color": "--chart-0", "faint": True},
        SMOOTHED: {"color": "--chart-0"},
        VALIDATION: {"color": "--chart-1", "points": True},
    }
    for series in chart["series"]:
        series |= looks[series["label"]]
    return _view("Loss", "", chart)


def _by_noise(status: Status) -> dict[str, Any]:
    """Return a view of the smoothed loss in four bands of noise."""
    lines = {
        name: smoothed([(event["step"], event["bands"][i]) for event in status.steps if event["bands"][i] is not None])
        for i, name in enumerate(BANDS)
    }
    note = "The overall loss can look flat while low-noise steps still improve."
    return _view("By noise level", note, _over_steps("Error", lines))


def _accuracy(status: Status) -> dict[str, Any]:
    """Return a view of a classifier's accuracy on held-out images over t, in percent of the chain."""
    measured = [event for event in status.held_out if "bands" in event]
    lines = {}
    for name, event in (("First", measured[0]), ("Latest", measured[-1])) if measured else ():
        error_rates = event["bands"]
        lines[name] = [
            (100 * (i + 0.5) / len(error_rates), 100 * (1 - error_rate))
            for i, error_rate in enumerate(error_rates)
            if error_rate is not None
        ]
    chart = charts.joined_chart_data("Accuracy over noise", lines, NOISE, "Accuracy on validation images, %")
    chart["x"]["range"] = chart["y"]["range"] = [0, 100]
    return _view("Accuracy", "", chart)


def _view(name: str, note: str, chart: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "note": note, "chart": chart}


def _losses(status: Status) -> Points:
    return [(event["step"], event["loss"]) for event in status.steps]


def _over_steps(title: str, lines: dict[str, Points]) -> dict[str, Any]:
    """Return a chart over the training steps: at most MAX_POINTS points of each line that has any."""
    thin = {name: thinned(points) for name, points in lines.items() if points}
    chart = charts.joined_chart_data(f"{title} over training steps", thin, STEP, title, log=True)
    chart["x"] |= {"range": [0, max(chart["xs"], default=1)], "whole": True}
    return chart | {"latest": True}


def smoothed(points: Points) -> Points:
    """Return the exponential moving average of the values, with bias correction as in Adam."""
    mean, weight, result = 0.0, 0.0, []
    for step, value in points:
        mean, weight = SMOOTHING * mean + (1 - SMOOTHING) * value, SMOOTHING * weight + 1 - SMOOTHING
        result.append((step, mean / weight))
    return result


def thinned(points: Points) -> Points:
    """Return at most MAX_POINTS evenly spaced points, including the last one."""
    stride = -(-len(points) // MAX_POINTS) or 1
    return points[::-1][::stride][::-1]


def timeline(run: Path, status: Status, empty: str, shows_training_images: bool = True) -> dict[str, Any]:
    """Return the preview images of a run and `empty`, the text shown if there are none.

    The nearest training images of the previews are left out unless `shows_training_images`. At most MAX_FRAMES evenly
    spaced previews are returned, including the first and the last.
    """
    previews = list(status.previews)
    if len(previews) > MAX_FRAMES:
        previews = [previews[round(i * (len(previews) - 1) / (MAX_FRAMES - 1))] for i in range(MAX_FRAMES)]
    frames = [
        {
            "step": event["step"],
            "averaged": _data_uri(run, event["path"]),
            "raw": _data_uri(run, event.get("raw_path", "")),
            "nearest": _data_uri(run, event.get("nearest_path") or "") if shows_training_images else None,
            "copies": event.get("copies"),
        }
        for event in previews
    ]
    return {"frames": frames, "empty": empty}


def _data_uri(run: Path, name: str) -> str | None:
    """Return a preview as a data URI; None if it is missing, or not a file in the run's own folder of previews."""
    try:
        path = (run / name).resolve(strict=True)
        if path.parent != run.resolve() / "samples" or path.suffix != ".png":
            return None
        return data_uri(read_regular(path, MAX_PREVIEW_BYTES))
    except (OSError, ValueError, RuntimeError):
        return None
