"""A labeled grid of images, drawn: heads above and beside, a caption under every cell, and what holds for all of them below."""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT, EMPTY = "#ffffff", "#0f172a", "#475569", "#e2e8f0"
GAP, CELL = 10, 160  # pixels: the least side of a cell
HEAD, CAPTION = 22, 18  # the sizes of the letters, in pixels


@dataclass(frozen=True)
class GridImage:
    """A cell: its image, already a contact sheet where there are several, and the words under it."""

    image: Image.Image
    caption: str


def labeled_grid(
    cells: dict[tuple[int, int], GridImage], columns: list[str], rows: list[str], below: str
) -> Image.Image:
    """The cells that there are, by (row, column), the others left gray. Images are enlarged by whole numbers, so that pixels stay square."""
    head, caption = ImageFont.load_default(HEAD), ImageFont.load_default(CAPTION)
    largest = max([1, *(max(drawn.image.size) for drawn in cells.values())])
    side = largest * -(-CELL // largest)
    beside = (
        min(CELL, max(int(head.getlength(word)) for row in rows for word in row.split() or [""])) + GAP
        if any(rows)
        else 0
    )
    tops, sides = (
        [wrap_text(text, head, side) for text in columns],
        [wrap_text(text, head, beside) for text in rows],
    )
    top = GAP + max(len(lines) for lines in tops) * (HEAD + 4)
    under = max([1, *(len(wrap_text(drawn.caption, caption, side)) for drawn in cells.values())]) * (CAPTION + 4)
    width = GAP + beside + len(columns) * (side + GAP)
    foot = wrap_text(below, caption, width - 2 * GAP)
    height = top + len(rows) * (side + under + GAP) + len(foot) * (CAPTION + 4) + GAP
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    for column, lines in enumerate(tops):
        _write(pen, lines, (GAP + beside + column * (side + GAP), GAP // 2), head, INK)
    for row, lines in enumerate(sides):
        y = top + row * (side + under + GAP)
        _write(pen, lines, (GAP, y), head, INK)
        for column in range(len(columns)):
            corner = (GAP + beside + column * (side + GAP), y)
            _cell(page, pen, cells.get((row, column)), corner, side, caption)
    _write(pen, foot, (GAP, height - GAP - len(foot) * (CAPTION + 4)), caption, FAINT)
    return page


def _cell(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    drawn: GridImage | None,
    corner: tuple[int, int],
    side: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    x, y = corner
    if drawn is None:
        pen.rectangle((x, y, x + side - 1, y + side - 1), fill=EMPTY)
        return
    factor = max(1, side // max(drawn.image.size))
    image = drawn.image.resize((drawn.image.width * factor, drawn.image.height * factor), Image.Resampling.NEAREST)
    page.paste(image, (x + (side - image.width) // 2, y + (side - image.height) // 2))
    _write(pen, wrap_text(drawn.caption, font, side), (x, y + side + 2), font, FAINT)


def _write(
    pen: ImageDraw.ImageDraw, lines: list[str], corner: tuple[int, int], font: ImageFont.FreeTypeFont, color: str
) -> None:
    for number, line in enumerate(lines):
        pen.text((corner[0], corner[1] + number * (font.size + 4)), line, fill=color, font=font)


def wrap_text(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words and, where a word is wider, within it."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines
