"""Charts of the page: the vendored library uPlot (MIT license), our module, and charts written as HTML."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_demo.paths import ASSETS, read_asset

STYLES = (ASSETS / "vendor" / "uplot" / "uPlot.min.css", ASSETS / "chart.css")


def head() -> str:
    """Return the scripts of the charts for the head of the page. They are inline, so nothing else is requested."""
    scripts = (read_asset("vendor/uplot/uPlot.iife.min.js"), read_asset("chart.js"))
    return "".join(f"<script>{script}</script>" for script in scripts)


def chart(
    label: str,
    xs: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    x_title: str,
    y_title: str,
    *,
    log: bool = False,
    mark: float | None = None,
    steps: bool = False,
) -> str:
    """Return the HTML of a line chart, which the browser draws (chart.js).

    lines: the y values by name, as many as xs. log: a logarithmic y axis, which leaves out values that are not above 0.
    mark: the x of a vertical line. steps: draw bars instead of lines. A value that is not finite is left out.
    """
    series = [
        {
            "label": name,
            "color": f"--chart-{number % 4}",
            "values": [float(f"{value:.6g}") if math.isfinite(value) else None for value in values],
        }
        | ({"steps": True, "fill": True} if steps else {})
        for number, (name, values) in enumerate(lines.items())
    ]
    spec: dict[str, Any] = {
        "label": label,
        "x": {"title": x_title},
        "y": {"title": y_title, "log": log},
        "xs": [float(f"{x:.6g}") for x in xs],
        "series": series,
        "mark": mark,
    }
    return f'<div class="chart" data-chart="{html.escape(json.dumps(spec))}"></div>'
