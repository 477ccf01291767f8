"""What panels are made of: formulas, rows of images, tables and plots, as HTML."""

import base64
import html
import io
import math
from functools import lru_cache

from latex2mathml.converter import convert
from torch import Tensor

from diffusion_demo.images import contact_sheet, to_uint8

LEFT, RIGHT, TOP, BOTTOM = 58, 630, 12, 200


@lru_cache(maxsize=64)
def formula(latex: str) -> str:
    """Typeset mathematics that every browser draws by itself."""
    return convert(latex, display="block")


def panel(sentence: str, latex: str, source: str, *parts: str) -> str:
    """One sentence (HTML), one equation with where it comes from, which may break between its lines, and what is to be seen."""
    formulas = "".join(map(formula, latex.splitlines()))
    return (
        f'<section class="panel"><p class="sentence">{sentence}</p><div class="equation">{formulas}</div>'
        f'<p class="source">{html.escape(source)}</p>{"".join(parts)}</section>'
    )


def image_row(named: dict[str, Tensor], columns: int | None = None) -> str:
    """Images in [-1, 1], each [1, C, S, S] (a sheet where there are more), over their names, which may hold HTML."""
    figures = (
        f'<figure><img src="{_png(x, columns)}" alt="{html.escape(_plain(name))}"><figcaption>{name}</figcaption></figure>'
        for name, x in named.items()
    )
    return f'<div class="images">{"".join(figures)}</div>'


def strip(x: Tensor, name: str) -> str:
    """A row of images [N, C, S, S] with one name."""
    return f'<figure class="strip"><img src="{_png(x, len(x))}" alt="{html.escape(_plain(name))}"><figcaption>{name}</figcaption></figure>'


def _png(x: Tensor, columns: int | None) -> str:
    buffer = io.BytesIO()
    contact_sheet(to_uint8(x), columns).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _plain(name: str) -> str:
    return name.replace("<sub>", "").replace("</sub>", "")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table whose cells may hold HTML; the first column names the row."""
    body = "".join(
        f"<tr><th scope='row'>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    top = "".join(f"<th>{cell}</th>" for cell in head)
    return f'<div class="scrolling" tabindex="0"><table class="numbers"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def plot(
    lines: dict[str, list[tuple[float, float]]], across: str, log: bool = False, cursor: float | None = None
) -> str:
    """Lines by their names over one axis, on a logarithmic upright axis where `log`; a dashed upright at `cursor`."""
    points = {
        name: [(x, math.log10(y) if log else y) for x, y in line if not log or y > 0] for name, line in lines.items()
    }
    xs, ys = ([point[i] for line in points.values() for point in line] for i in (0, 1))
    if not xs:
        return ""
    (low_x, high_x), (low_y, high_y) = (
        (min(values), max(values) if max(values) > min(values) else min(values) + 1) for values in (xs, ys)
    )

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (x - low_x) / (high_x - low_x) * (RIGHT - LEFT), BOTTOM - (y - low_y) / (high_y - low_y) * (
            BOTTOM - TOP
        )

    parts = []
    for i in range(5):
        x, y = low_x + i * (high_x - low_x) / 4, low_y + i * (high_y - low_y) / 4
        px, py = at(x, y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{py:.1f}" y2="{py:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{10**y if log else y:.3g}</text>')
        parts.append(
            f'<text x="{px:.1f}" y="{BOTTOM + 18}" text-anchor="{("start", "middle", "middle", "middle", "end")[i]}">{x:.4g}</text>'
        )
    for number, line in enumerate(points.values()):
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in line)
        parts.append(f'<polyline class="line line-{number}" points="{path}"/>')
    if cursor is not None and low_x <= cursor <= high_x:
        parts.append(
            f'<line class="cursor" x1="{at(cursor, low_y)[0]:.1f}" x2="{at(cursor, low_y)[0]:.1f}" y1="{TOP}" y2="{BOTTOM}"/>'
        )
    keys = "".join(f'<span class="key line-{number}">{html.escape(name)}</span>' for number, name in enumerate(points))
    label = f"{', '.join(points)} over {across}"
    return (
        f'<figure class="plot"><svg viewBox="0 0 640 226" role="img" aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
        f'<figcaption>{keys}<span class="across">over {html.escape(across)}</span></figcaption></figure>'
    )


def measured(value: float, error: float) -> str:
    """A number with its standard error."""
    return f"{value:.4f} ± {error:.4f}"
