"""The synthetic dataset has the documented distribution."""

import random
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from diffusion_demo.data.synthetic_shapes import CLASSES, COLORS, RADII, SIDE, draw, write_synthetic


def shape_of(image):
    """Return the color of the shape, and its bounding box as fractions of the side."""
    pixels = np.asarray(image).reshape(-1, 3)
    color = Counter(map(tuple, pixels[(pixels != 255).any(1) & (pixels != 0).any(1)].tolist())).most_common(1)[0][0]
    rows, columns = np.nonzero((np.asarray(image) < 250).any(2))
    return color, (columns.min() / SIDE, rows.min() / SIDE, (columns.max() + 1) / SIDE, (rows.max() + 1) / SIDE)


@pytest.mark.parametrize("class_name", CLASSES)
def test_colors_are_evenly_often_and_radii_uniform(class_name):
    generator = random.Random(0)
    drawn = [shape_of(draw(class_name, generator)) for _ in range(400)]
    counts = Counter(color for color, _ in drawn)
    assert set(counts) == set(COLORS) and stats.chisquare(list(counts.values())).pvalue > 1e-3
    radii = [(right - left) / 2 for _, (left, _, right, _) in drawn]
    low, high = RADII
    assert stats.kstest(radii, stats.uniform(low, high - low).cdf).statistic < 0.12
    assert all(left >= -1 / SIDE and right <= 1 + 1 / SIDE for _, (left, _, right, _) in drawn)


def test_the_same_images_are_drawn_every_time(tmp_path):
    write_synthetic(tmp_path / "a", each=3)
    write_synthetic(tmp_path / "b", each=3)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.png"))
    assert len(files) == 3 * len(CLASSES)
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
