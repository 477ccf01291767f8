"""HTML elements of the lessons: equations, rows of images and tables. Charts are in `diffusion_demo.ui.charts`."""

import html
import re
from functools import lru_cache

from latex2mathml.converter import convert
from torch import Tensor

from diffusion_demo.images import contact_sheet, to_uint8
from diffusion_demo.ui.data_uri import png_data_uri

_PHONE = "(max-width: 700px)"  # as in lessons.css
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@lru_cache(maxsize=64)
def formula(latex: str) -> str:
    """Return the MathML of a LaTeX formula. A plus at its beginning continues the formula before it."""
    # Browsers take an operator at the beginning for a sign and leave no space after it.
    return convert(latex, display="block").replace("<mrow><mo>&#x0002B;", '<mrow><mo form="infix">&#x0002B;', 1)


def equation(latex: str, numbers: str, source: str) -> str:
    """Return an equation (one formula per line), the same with its numbers at t (HTML), and its source."""
    formulas = "".join(map(formula, latex.splitlines()))
    return (
        f'<div class="equation">{formulas}</div><p class="filled">{numbers}</p>'
        f'<p class="source">{html.escape(source)}</p>'
    )


def part(title: str, *content: str) -> str:
    """Return a titled part of a lesson."""
    return f"<h3>{title}</h3>{''.join(content)}"


def computation(name: str, title: str) -> str:
    """Return the button that starts a long computation of a lesson; `name` is the id of its hidden Gradio button."""
    return f'<p><button type="button" class="computation" data-press="{name}">{html.escape(title)}</button></p>'


def image_row(
    images: dict[str, Tensor], columns: int | None = None, marked: tuple[int, int, int, int] | None = None
) -> str:
    """Return a row of images by their captions (HTML).

    An image is a tensor [N, C, S, S] in [-1, 1]; N > 1 makes a contact sheet of `columns` columns. marked: the index
    of a pixel that is marked in every image with N = 1.
    """
    figures = "".join(
        _figure(x, caption, columns, mark=_mark(x, marked) if marked and len(x) == 1 else "")
        for caption, x in images.items()
    )
    return f'<div class="images">{figures}</div>'


def strip(x: Tensor, caption: str) -> str:
    """Return images [N, C, S, S] in one row, on a phone an even number of them in two, with one caption (HTML)."""
    narrow = "" if len(x) % 2 else f'<source media="{_PHONE}" srcset="{_png(x, len(x) // 2)}">'
    return _figure(x, caption, len(x), ' class="strip"', narrow=narrow)


def _figure(
    x: Tensor, caption: str, columns: int | None, attributes: str = "", mark: str = "", narrow: str = ""
) -> str:
    image = f'<img src="{_png(x, columns)}" alt="{html.escape(_plain(caption))}">'
    framed = f'<div class="marked">{image}{mark}</div>' if mark else f"<picture>{narrow}{image}</picture>"
    return f"<figure{attributes}>{framed}<figcaption>{caption}</figcaption></figure>"


def _mark(x: Tensor, pixel: tuple[int, int, int, int]) -> str:
    """Return a square around a pixel, for an element that the image fills."""
    size, (*_, row, column) = x.shape[-1], pixel
    left, top = (100 * (place + 0.5) / size for place in (column, row))
    return f'<span class="pixel" style="left: {left:.4g}%; top: {top:.4g}%; width: {100 / size:.4g}%"></span>'


def _png(x: Tensor, columns: int | None) -> str:
    return png_data_uri(contact_sheet(to_uint8(x), columns))


def _plain(caption: str) -> str:
    """Return the caption without HTML tags."""
    return re.sub("<[^>]*>", "", caption)


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


def short(value: float) -> str:
    """Format a number with three digits, and one below 0.001 as a power of ten, as the explorer does."""
    if value == 0 or abs(value) >= 1e-3:
        return _with_minus(f"{value:.3g}")
    digits, exponent = f"{value:.2e}".split("e")
    return f"{_with_minus(digits)} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def measured(value: float, error: float) -> str:
    """Format a number with its standard error."""
    return f"{fixed(value, 4)} ± {error:.4f}"


def fixed(value: float, decimals: int) -> str:
    """Format a number with a fixed number of decimals; zero has no sign."""
    return _with_minus(f"{round(value, decimals) + 0:.{decimals}f}")


def _with_minus(number: str) -> str:
    return number.replace("-", "−")
