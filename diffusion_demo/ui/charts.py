"""Charts of the page: the vendored library uPlot (MIT license), our module, and charts written as HTML."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_demo.paths import ASSETS, read_asset

Lines = Mapping[str, Sequence[float]]
Points = Sequence[tuple[float, float]]

STYLES = (ASSETS / "vendor" / "uplot" / "uPlot.min.css", ASSETS / "chart.css")


def head() -> str:
    """Return the scripts of the charts for the head of the page. They are inline, so nothing else is requested."""
    scripts = (read_asset("vendor/uplot/uPlot.iife.min.js"), read_asset("chart.js"))
    return "".join(f"<script>{script}</script>" for script in scripts)


def chart(label: str, xs: Sequence[float], lines: Lines, x_title: str, y_title: str, **options: Any) -> str:
    """Return the HTML of a line chart, which the browser draws (chart.js). Arguments: those of `chart_data`."""
    data = chart_data(label, xs, lines, x_title, y_title, **options)
    return f'<div class="chart" data-chart="{html.escape(json.dumps(data))}"></div>'


def chart_data(
    label: str,
    xs: Sequence[float],
    lines: Lines,
    x_title: str,
    y_title: str,
    *,
    log: bool = False,
    mark: float | None = None,
    steps: bool = False,
) -> dict[str, Any]:
    """Return the data of a line chart for `lineChart` (chart.js).

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
    return {
        "label": label,
        "x": {"title": x_title},
        "y": {"title": y_title, "log": log},
        "xs": [float(f"{x:.6g}") for x in xs],
        "series": series,
        "mark": mark,
    }


def joined_chart_data(
    label: str, lines: Mapping[str, Points], x_title: str, y_title: str, *, log: bool = False
) -> dict[str, Any]:
    """Return the data of a line chart whose lines have points (x, y) of their own, joined over gaps."""
    xs = sorted({x for points in lines.values() for x, _ in points})
    values = {name: [by_x.get(x, math.nan) for x in xs] for name, by_x in ((n, dict(p)) for n, p in lines.items())}
    return chart_data(label, xs, values, x_title, y_title, log=log) | {"sparse": True}
