"""A run's status -> what curves.js and timeline.js draw."""

import base64
from pathlib import Path

from diffusion_demo.training.status import Status

MAX_POINTS, MAX_FRAMES, SMOOTHING = 300, 24, 0.9
BANDS = ("least noise", "little", "much", "most noise")


def curves(status: Status) -> dict:
    """The loss: as it is, smoothed and on held-out images; and by the noise that it was measured at. Of a classifier, how often it is right."""
    losses = [(event["step"], event["loss"]) for event in status.steps]
    held_out = [(event["step"], event["loss"]) for event in status.held_out]
    bands = [
        [(event["step"], event["bands"][i]) for event in status.steps if event["bands"][i] is not None]
        for i in range(len(BANDS))
    ]
    together = [
        {"name": "each report", "points": thinned(losses), "faint": True},
        {"name": "smoothed", "points": thinned(smoothed(losses))},
        {"name": "held-out images", "points": thinned(held_out)},
    ]
    by_noise = [{"name": name, "points": thinned(smoothed(points))} for name, points in zip(BANDS, bands, strict=True)]
    loss = {"name": "Loss", "lines": together, "note": ""}
    if status.task == "classifier":
        return {"views": [loss, _right_answers(status)]}
    return {
        "views": [
            loss,
            {
                "name": "By noise",
                "lines": by_noise,
                "note": "A flat total can hide that little noise still gets better.",
            },
        ]
    }


def _right_answers(status: Status) -> dict:
    """A view of the share of held-out images that a classifier names rightly, over t in percent of the chain."""
    measured = [event for event in status.held_out if "bands" in event]
    lines = []
    for name, event in (("at first", measured[0]), ("now", measured[-1])) if measured else ():
        tenths = [
            (100 * (i + 0.5) / len(event["bands"]), 1 - wrong)
            for i, wrong in enumerate(event["bands"])
            if wrong is not None
        ]
        lines.append({"name": name, "points": tenths})
    return {
        "name": "Right answers",
        "lines": lines,
        "note": "From no noise on the left to nothing but noise on the right.",
        "share": True,
    }


def compared(runs: dict[str, Status]) -> dict:
    """A view of several runs' smoothed losses, by their names."""
    lines = [
        {"name": name, "points": thinned(smoothed([(e["step"], e["loss"]) for e in status.steps]))}
        for name, status in runs.items()
    ]
    return {"name": "Compare", "lines": lines, "note": "Only the same loss on the same images compares."}


def smoothed(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """A running mean that forgets, without the pull of its start."""
    mean, weight, result = 0.0, 0.0, []
    for step, value in points:
        mean, weight = SMOOTHING * mean + (1 - SMOOTHING) * value, SMOOTHING * weight + 1 - SMOOTHING
        result.append((step, mean / weight))
    return result


def thinned(points: list) -> list:
    """At most MAX_POINTS of them, evenly spread, with the last."""
    stride = -(-len(points) // MAX_POINTS) or 1
    return points[::-1][::stride][::-1]


def timeline(run: Path, status: Status, empty: str) -> dict:
    """The previews, at most MAX_FRAMES evenly spread with the first and the last; `empty` is said while there is none."""
    previews = list(status.previews)
    if len(previews) > MAX_FRAMES:
        previews = [previews[round(i * (len(previews) - 1) / (MAX_FRAMES - 1))] for i in range(MAX_FRAMES)]
    frames = [
        {
            "step": event["step"],
            "averaged": _data_uri(run / event["path"]),
            "raw": _data_uri(run / event.get("raw_path", "")),
        }
        for event in previews
    ]
    return {"frames": frames, "empty": empty}


def _data_uri(path: Path) -> str | None:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() if path.is_file() else None
