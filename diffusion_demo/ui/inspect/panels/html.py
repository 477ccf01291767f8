"""HTML elements of the panels: formulas, rows of images, tables and line plots."""

import base64
import html
import io
import math
from functools import lru_cache
from typing import NamedTuple

from latex2mathml.converter import convert
from torch import Tensor

from diffusion_demo.images import contact_sheet, to_uint8

LEFT, RIGHT, TOP, BOTTOM = 58, 630, 12, 200


@lru_cache(maxsize=64)
def formula(latex: str) -> str:
    """Return the MathML of a LaTeX formula."""
    return convert(latex, display="block")


def panel(sentence: str, latex: str, source: str, *parts: str) -> str:
    """Return a panel: a sentence (HTML), an equation (one formula per line) with its source, and HTML parts."""
    formulas = "".join(map(formula, latex.splitlines()))
    return (
        f'<section class="panel"><p class="sentence">{sentence}</p><div class="equation">{formulas}</div>'
        f'<p class="source">{html.escape(source)}</p>{"".join(parts)}</section>'
    )


def image_row(images: dict[str, Tensor], columns: int | None = None) -> str:
    """Return a row of images by their captions (HTML).

    An image is a tensor [N, C, S, S] in [-1, 1]; N > 1 makes a contact sheet of `columns` columns.
    """
    figures = "".join(_figure(x, caption, columns) for caption, x in images.items())
    return f'<div class="images">{figures}</div>'


def strip(x: Tensor, caption: str) -> str:
    """Return images [N, C, S, S] in one row with one caption (HTML)."""
    return _figure(x, caption, len(x), ' class="strip"')


def _figure(x: Tensor, caption: str, columns: int | None, attributes: str = "") -> str:
    alt = html.escape(_plain(caption))
    return f'<figure{attributes}><img src="{_png(x, columns)}" alt="{alt}"><figcaption>{caption}</figcaption></figure>'


def _png(x: Tensor, columns: int | None) -> str:
    buffer = io.BytesIO()
    contact_sheet(to_uint8(x), columns).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _plain(caption: str) -> str:
    """Return the caption without its subscript tags."""
    return caption.replace("<sub>", "").replace("</sub>", "")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of HTML cells, whose first column holds the row headers."""
    body = "".join(
        f"<tr><th scope='row'>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    top = "".join(f"<th>{cell}</th>" for cell in head)
    return (
        '<div class="scrolling" tabindex="0"><table class="numbers">'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def plot(
    lines: dict[str, list[tuple[float, float]]], across: str, log: bool = False, cursor: float | None = None
) -> str:
    """Return an SVG line plot with a legend.

    lines: points (x, y) by name. across: the title of the x axis. log: whether the y axis is logarithmic, which leaves
    out points with y <= 0. cursor: the x of a dashed vertical line.
    """
    points = {
        name: [(x, math.log10(y) if log else y) for x, y in line if not log or y > 0] for name, line in lines.items()
    }
    xs, ys = ([point[i] for line in points.values() for point in line] for i in (0, 1))
    if not xs:
        return ""
    axes = _Axes(*_limits(xs), *_limits(ys))
    parts = axes.grid(log)
    for number, line in enumerate(points.values()):
        path = " ".join(f"{axes.px(x):.1f},{axes.py(y):.1f}" for x, y in line)
        parts.append(f'<polyline class="line line-{number}" points="{path}"/>')
    if cursor is not None and axes.low_x <= cursor <= axes.high_x:
        px = axes.px(cursor)
        parts.append(f'<line class="cursor" x1="{px:.1f}" x2="{px:.1f}" y1="{TOP}" y2="{BOTTOM}"/>')
    keys = "".join(f'<span class="key line-{number}">{html.escape(name)}</span>' for number, name in enumerate(points))
    label = html.escape(f"{', '.join(points)} over {across}")
    return (
        f'<figure class="plot"><svg viewBox="0 0 640 226" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f'<figcaption>{keys}<span class="across">over {html.escape(across)}</span></figcaption></figure>'
    )


def _limits(values: list[float]) -> tuple[float, float]:
    """Return the limits of an axis, which are at least 1 apart if all values are equal."""
    low, high = min(values), max(values)
    return low, high if high > low else low + 1


class _Axes(NamedTuple):
    """Limits of both axes, in units of the data."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float

    def px(self, x: float) -> float:
        """Return the horizontal position of x in the SVG."""
        return LEFT + (x - self.low_x) / (self.high_x - self.low_x) * (RIGHT - LEFT)

    def py(self, y: float) -> float:
        """Return the vertical position of y in the SVG."""
        return BOTTOM - (y - self.low_y) / (self.high_y - self.low_y) * (BOTTOM - TOP)

    def grid(self, log: bool) -> list[str]:
        """Return grid lines and tick labels as SVG; the labels of a logarithmic y axis are powers of 10."""
        parts = []
        for i, anchor in enumerate(("start", "middle", "middle", "middle", "end")):
            x = self.low_x + i * (self.high_x - self.low_x) / 4
            y = self.low_y + i * (self.high_y - self.low_y) / 4
            px, py = self.px(x), self.py(y)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{py:.1f}" y2="{py:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{10**y if log else y:.3g}</text>')
            parts.append(f'<text x="{px:.1f}" y="{BOTTOM + 18}" text-anchor="{anchor}">{x:.4g}</text>')
        return parts


def measured(value: float, error: float) -> str:
    """Format a number with its standard error."""
    return f"{value:.4f} ± {error:.4f}"
