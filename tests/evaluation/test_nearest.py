"""Nearest training images and the memorization report."""

import pytest
import torch
from PIL import Image

from diffusion_demo.evaluation.extractor import Extractor, Features
from diffusion_demo.evaluation.memorization import measure_memorization
from diffusion_demo.evaluation.nearest import closeness, nearest


def random_images(count, seed, channels=3):
    return torch.randint(
        0, 256, (count, channels, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )


def _every_second_pixel(pixels):
    vectors = pixels.float().flatten(1)[:, ::2]
    return Features(vectors, vectors, vectors.softmax(dim=1))


EXTRACTOR = Extractor("every second pixel", _every_second_pixel, 64)


def memorization(samples, training, held_out, sheet=None):
    dataset = torch.cat([training, held_out])
    sides = [(images, EXTRACTOR(images).vectors) for images in (samples, dataset)]
    return measure_memorization(sides[0], sides[1], len(training), EXTRACTOR, 0, sheet)


def test_exact_copies_are_found_in_every_block():
    rows = torch.randn(9000, 12, generator=torch.Generator().manual_seed(0))
    result = nearest(rows[[8999, 17]], rows)
    assert result.row.tolist() == [8999, 17] and result.distance.tolist() == [0, 0]


def test_small_distances_are_exact():
    rows = random_images(40, 0)
    queries = rows[:30].clone()
    queries[:, 0, 0, 0] ^= 1
    result = nearest(queries, rows)
    assert result.row.tolist() == list(range(30)) and result.distance.tolist() == [1.0] * 30


def test_rows_of_the_same_group_are_not_compared():
    rows = torch.tensor([[0.0], [1.0], [3.0]])
    result = nearest(rows, rows, (torch.arange(3), torch.arange(3)))
    assert result.row.tolist() == [1, 0, 1] and result.distance.tolist() == [1, 1, 2]


def test_closeness_is_a_share_and_a_ratio_with_errors():
    others = torch.arange(1.0, 101.0).double()
    result = closeness(torch.tensor([2.0, 30.0, 80.0, 90.0]).double(), others)
    assert (
        result.nearer.value == 0.5 and result.much_nearer.value == 0.25 and result.ratio.value == pytest.approx(30 / 50)
    )
    assert (result.median, result.typical) == (30, 50) and min(
        result.nearer.standard_error, result.ratio.standard_error
    ) > 0


def test_the_ratio_is_finite_for_duplicated_data():
    assert closeness(torch.zeros(4).double(), torch.zeros(4).double()).ratio.value == 0


def test_unrelated_samples_are_as_near_as_held_out_images():
    report = memorization(random_images(200, 0), random_images(300, 1), random_images(200, 2))
    for kind in ("in_pixels", "in_features"):
        assert abs(report[kind]["nearer"]["value"] - 0.5) < 3 * report[kind]["nearer"]["standard_error"]
        assert report[kind]["ratio"]["value"] == pytest.approx(1, abs=0.05)
    assert report["compared_with"] == "200 held-out images" and report["training"] == 300 and report["sheet"] is None


def test_copies_are_detected_mirrored_or_not_and_in_small_numbers():
    training, held_out = random_images(60, 1), random_images(40, 2)
    report = memorization(torch.cat([training[:10], training[20:30].flip(3)]), training, held_out)
    for kind in ("in_pixels", "in_features"):
        assert report[kind]["nearer"]["value"] == report[kind]["much_nearer"]["value"] == 1
        assert report[kind]["ratio"]["value"] == report[kind]["median_distance"] == 0
    some = memorization(torch.cat([random_images(90, 3), training[:10]]), training, held_out)
    assert some["in_pixels"]["much_nearer"]["value"] >= 0.1


def test_without_held_out_images_the_training_images_are_compared_with_each_other():
    training = random_images(50, 1)
    training[:5] = training[5:10].flip(3)
    report = memorization(random_images(40, 0), training, training[:0])
    assert report["compared_with"] == "50 other training images" and report["in_pixels"]["typical_distance"] > 50
    symmetric = torch.maximum(training, training.flip(3))
    report = memorization(random_images(40, 0), symmetric, training[:0])
    assert report["in_pixels"]["typical_distance"] > 20, "an image is not compared with its own mirror image"


def test_pixel_distances_are_root_mean_squares_for_grayscale_too():
    training = torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
    report = memorization(
        torch.full((3, 1, 8, 8), 110, dtype=torch.uint8), training, torch.full((2, 1, 8, 8), 120, dtype=torch.uint8)
    )
    pixels = report["in_pixels"]
    assert pixels["median_distance"] == pytest.approx(10) and pixels["typical_distance"] == pytest.approx(20)


def test_the_sheet_shows_each_sample_with_its_nearest_images(tmp_path):
    training = random_images(30, 1)
    memorization(
        torch.cat([random_images(5, 0), training[7:8].flip(3)]),
        training,
        random_images(20, 2),
        tmp_path / "new" / "nearest.png",
    )
    with Image.open(tmp_path / "new" / "nearest.png") as sheet:
        tiles = [sheet.crop((8 * i, 0, 8 * i + 8, 8)).tobytes() for i in range(4)]
        assert sheet.size == (8 * 16, 8 * 2)
    assert tiles[0] == tiles[1] == tiles[2] != tiles[3] == b"\xff" * (8 * 8 * 3)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["nearest.png"]
