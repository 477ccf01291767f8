"""The labeled grid, looked at pixel by pixel."""

import numpy as np
from PIL import Image, ImageFont

from diffusion_demo.sampling.contact_sheet import EMPTY, PAPER, GridImage, labeled_grid, wrap_text

RED, BLUE = (200, 10, 10), (10, 10, 200)


def drawn(color, size=16, caption="4 steps, 8 calls"):
    return GridImage(Image.new("RGB", (size, size), color), caption)


def where(page, color):
    """left, top, right, bottom of the pixels of a color."""
    rows, columns = np.nonzero((np.asarray(page) == Image.new("RGB", (1, 1), color).getpixel((0, 0))).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_cells_stand_in_their_columns_and_rows_and_missing_ones_are_gray():
    page = labeled_grid({(0, 0): drawn(RED), (1, 1): drawn(BLUE)}, ["one", "two"], ["up", "down"], "below")
    red, blue = where(page, RED), where(page, BLUE)
    assert red[2] <= blue[0] and red[3] <= blue[1]
    assert red[2] - red[0] == red[3] - red[1] == 160  # ten times 16
    gray = np.asarray(page) == Image.new("RGB", (1, 1), EMPTY).getpixel((0, 0))
    assert gray.all(-1).sum() == 2 * 160 * 160


def test_images_are_enlarged_by_whole_numbers_and_smaller_ones_stand_in_the_middle():
    page = labeled_grid({(0, 0): drawn(RED, 48), (0, 1): drawn(BLUE, 20)}, ["one", "two"], [""], "")
    red, blue = where(page, RED), where(page, BLUE)
    assert (red[2] - red[0], blue[2] - blue[0]) == (4 * 48, 9 * 20)
    assert blue[1] - red[1] == (192 - 180) // 2


def test_heads_captions_and_what_holds_for_all_are_written():
    blank = labeled_grid({(0, 0): drawn(PAPER, caption="")}, [""], [""], "")
    for words in (
        {"columns": ["8 network calls"]},
        {"rows": ["DDIM"]},
        {"below": "model a, seed 3"},
    ):
        page = labeled_grid(
            {(0, 0): drawn(PAPER, caption="")},
            words.get("columns", [""]),
            words.get("rows", [""]),
            words.get("below", ""),
        )
        assert (np.asarray(page) < 100).any() and not (np.asarray(blank) < 100).any()


def test_long_words_are_broken_so_that_no_line_is_wider_than_its_cell():
    font = ImageFont.load_default(18)
    lines = wrap_text("run-of-a-very-long-name/step_000012 and more words", font, 100)
    assert len(lines) > 2 and all(font.getlength(line) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == "run-of-a-very-long-name/step_000012andmorewords"


def test_sixty_four_cells_make_one_image():
    page = labeled_grid(
        {(r, c): drawn(RED) for r in range(8) for c in range(8)},
        [str(c) for c in range(8)],
        [str(r) for r in range(8)],
        "below",
    )
    assert (np.asarray(page) == RED).all(-1).sum() == 64 * 160 * 160
