"""Labeled image grid: column and row headings, a caption under each cell, and a footer."""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

BACKGROUND, TEXT_COLOR, MUTED_COLOR, EMPTY_CELL = "#ffffff", "#0f172a", "#475569", "#e2e8f0"
GAP, MIN_CELL_SIDE = 10, 160  # pixels
HEADING_SIZE, CAPTION_SIZE = 22, 18  # font sizes in pixels
LINE_GAP = 4  # pixels


@dataclass(frozen=True)
class GridCell:
    """The content of one cell: an image, which may itself be a contact sheet, and its caption."""

    image: Image.Image
    caption: str


def labeled_grid(
    cells: dict[tuple[int, int], GridCell], columns: list[str], rows: list[str], footer: str
) -> Image.Image:
    """Draw the cells, given by (row, column), with their headings and the footer; missing cells are gray.

    Images are enlarged by whole factors, so that their pixels stay square.
    """
    heading_font, caption_font = load_font(HEADING_SIZE), load_font(CAPTION_SIZE)
    largest = max([1, *(max(cell.image.size) for cell in cells.values())])
    side = largest * -(-MIN_CELL_SIDE // largest)
    left = _row_heading_width(rows, heading_font)
    column_headings = [wrap_text(text, heading_font, side) for text in columns]
    row_headings = [wrap_text(text, heading_font, left) for text in rows]
    top = GAP + max(len(lines) for lines in column_headings) * (HEADING_SIZE + LINE_GAP)
    caption_lines = max([1, *(len(wrap_text(cell.caption, caption_font, side)) for cell in cells.values())])
    row_height = side + caption_lines * (CAPTION_SIZE + LINE_GAP) + GAP
    width = GAP + left + len(columns) * (side + GAP)
    footer_lines = wrap_text(footer, caption_font, width - 2 * GAP)
    footer_height = len(footer_lines) * (CAPTION_SIZE + LINE_GAP)
    height = top + len(rows) * row_height + footer_height + GAP
    page = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for column, lines in enumerate(column_headings):
        _draw_lines(draw, lines, (GAP + left + column * (side + GAP), GAP // 2), heading_font, TEXT_COLOR)
    for row, lines in enumerate(row_headings):
        y = top + row * row_height
        _draw_lines(draw, lines, (GAP, y), heading_font, TEXT_COLOR)
        for column in range(len(columns)):
            corner = (GAP + left + column * (side + GAP), y)
            _draw_cell(page, draw, cells.get((row, column)), corner, side, caption_font)
    _draw_lines(draw, footer_lines, (GAP, height - GAP - footer_height), caption_font, MUTED_COLOR)
    return page


def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the default font of Pillow at a size in pixels."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow returns a FreeType font whenever a size is given"
    return font


def _row_heading_width(rows: list[str], font: ImageFont.FreeTypeFont) -> int:
    if not any(rows):
        return 0
    widest_word = max(int(font.getlength(word)) for row in rows for word in row.split() or [""])
    return min(MIN_CELL_SIDE, widest_word) + GAP


def _draw_cell(
    page: Image.Image,
    draw: ImageDraw.ImageDraw,
    cell: GridCell | None,
    corner: tuple[int, int],
    side: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    x, y = corner
    if cell is None:
        draw.rectangle((x, y, x + side - 1, y + side - 1), fill=EMPTY_CELL)
        return
    factor = max(1, side // max(cell.image.size))
    image = cell.image.resize((cell.image.width * factor, cell.image.height * factor), Image.Resampling.NEAREST)
    page.paste(image, (x + (side - image.width) // 2, y + (side - image.height) // 2))
    _draw_lines(draw, wrap_text(cell.caption, font, side), (x, y + side + 2), font, MUTED_COLOR)


def _draw_lines(
    draw: ImageDraw.ImageDraw, lines: list[str], corner: tuple[int, int], font: ImageFont.FreeTypeFont, color: str
) -> None:
    for number, line in enumerate(lines):
        draw.text((corner[0], corner[1] + number * (font.size + LINE_GAP)), line, fill=color, font=font)


def wrap_text(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Return the text as lines of at most `width` pixels, broken between words and inside words that are too wide."""
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
