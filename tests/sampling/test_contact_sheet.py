"""Labeled image grid, checked by its pixels."""

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from diffusion_demo.sampling.contact_sheet import (
    BACKGROUND,
    CAPTION_SIZE,
    EMPTY_CELL,
    HEADING_SIZE,
    MUTED_COLOR,
    TEXT_COLOR,
    GridCell,
    labeled_grid,
    load_font,
    wrap_text,
)

RED, BLUE = (200, 10, 10), (10, 10, 200)


def cell(color, size=16, caption="4 steps, 8 calls"):
    return GridCell(Image.new("RGB", (size, size), color), caption)


def bounding_box(page, color):
    """Return left, top, right, bottom of the pixels of a color."""
    rows, columns = np.nonzero((np.asarray(page) == Image.new("RGB", (1, 1), color).getpixel((0, 0))).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_cells_are_placed_by_row_and_column_and_missing_ones_are_gray():
    page = labeled_grid({(0, 0): cell(RED), (1, 1): cell(BLUE)}, ["one", "two"], ["up", "down"], "below")
    red, blue = bounding_box(page, RED), bounding_box(page, BLUE)
    assert red[2] <= blue[0] and red[3] <= blue[1]
    assert red[2] - red[0] == red[3] - red[1] == 160  # ten times 16
    gray = np.asarray(page) == Image.new("RGB", (1, 1), EMPTY_CELL).getpixel((0, 0))
    assert gray.all(-1).sum() == 2 * 160 * 160


def test_images_are_enlarged_by_whole_factors_and_smaller_ones_are_centered():
    page = labeled_grid({(0, 0): cell(RED, 48), (0, 1): cell(BLUE, 20)}, ["one", "two"], [""], "")
    red, blue = bounding_box(page, RED), bounding_box(page, BLUE)
    assert (red[2] - red[0], blue[2] - blue[0]) == (4 * 48, 9 * 20)
    assert blue[1] - red[1] == (192 - 180) // 2


def written(text, size, color):
    """Return the text alone, cut to its pixels."""
    font = load_font(size)
    image = Image.new("RGB", (int(font.getlength(text)) + 8, 2 * size), BACKGROUND)
    ImageDraw.Draw(image).text((2, 2), text, fill=color, font=font)
    return image.crop(ImageChops.invert(image).getbbox())


def places_of(text, size, color, page):
    """Return left and top of every place in the page that shows exactly this text."""
    pattern, pixels = np.asarray(written(text, size, color)), np.asarray(page)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, pattern.shape)[:, :, 0]
    ys, xs = np.nonzero((windows == pattern).all((2, 3, 4)))
    return [*zip(xs.tolist(), ys.tolist(), strict=True)]


def test_headings_captions_and_footer_say_what_they_should_in_their_places():
    page = labeled_grid({(0, 0): cell(RED, caption="4 steps")}, ["8 calls", "16 calls"], ["DDIM"], "seed 3")
    left, top, right, bottom = bounding_box(page, RED)
    ((x, y),) = places_of("8 calls", HEADING_SIZE, TEXT_COLOR, page)
    assert left <= x < right and y < top
    ((x, y),) = places_of("16 calls", HEADING_SIZE, TEXT_COLOR, page)
    assert x >= right and y < top
    ((x, y),) = places_of("DDIM", HEADING_SIZE, TEXT_COLOR, page)
    assert x < left and top <= y < bottom
    ((x, y),) = places_of("4 steps", CAPTION_SIZE, MUTED_COLOR, page)
    assert left <= x < right and y >= bottom
    ((_, below),) = places_of("seed 3", CAPTION_SIZE, MUTED_COLOR, page)
    assert below > y and not places_of("seed 4", CAPTION_SIZE, MUTED_COLOR, page)


def test_long_words_are_broken_to_fit_the_cell():
    font = load_font(18)
    lines = wrap_text("run-of-a-very-long-name/step_000012 and more words", font, 100)
    assert len(lines) > 2 and all(font.getlength(line) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == "run-of-a-very-long-name/step_000012andmorewords"


def test_sixty_four_cells_make_one_image():
    page = labeled_grid(
        {(r, c): cell(RED) for r in range(8) for c in range(8)},
        [str(c) for c in range(8)],
        [str(r) for r in range(8)],
        "below",
    )
    assert (np.asarray(page) == RED).all(-1).sum() == 64 * 160 * 160
