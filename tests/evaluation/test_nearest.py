"""The nearest training images: found, and told of when samples are copies."""

import pytest
import torch
from PIL import Image

from diffusion_demo.evaluation.extractor import Extractor, Features
from diffusion_demo.evaluation.memorization import measure_memorization
from diffusion_demo.evaluation.nearest import closeness, nearest


def dataset(count, seed, channels=3):
    return torch.randint(
        0, 256, (count, channels, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )


def _halves(pixels):
    vectors = pixels.float().flatten(1)[:, ::2]
    return Features(vectors, vectors, vectors.softmax(dim=1))


HALVES = Extractor("every second pixel", _halves, 64)


def measured(samples, training, held_out, sheet=None):
    everything = torch.cat([training, held_out])
    sides = ((images, HALVES(images).vectors) for images in (samples, everything))
    return measure_memorization(*sides, len(training), HALVES, 0, sheet)


def test_a_planted_copy_is_found_at_no_distance_in_the_last_block_too():
    rows = torch.randn(9000, 12, generator=torch.Generator().manual_seed(0))
    found = nearest(rows[[8999, 17]], rows)
    assert found.row.tolist() == [8999, 17] and found.distance.tolist() == [0, 0]


def test_distances_are_exact_where_they_are_small():
    rows = dataset(40, 0)
    queries = rows[:30].clone()
    queries[:, 0, 0, 0] ^= 1
    found = nearest(queries, rows)
    assert found.row.tolist() == list(range(30)) and found.distance.tolist() == [1.0] * 30


def test_rows_of_the_same_name_are_not_compared():
    rows = torch.tensor([[0.0], [1.0], [3.0]])
    found = nearest(rows, rows, (torch.arange(3), torch.arange(3)))
    assert found.row.tolist() == [1, 0, 1] and found.distance.tolist() == [1, 1, 2]


def test_closeness_is_a_share_and_a_ratio_with_errors():
    others = torch.arange(1.0, 101.0).double()
    found = closeness(torch.tensor([2.0, 30.0, 80.0, 90.0]).double(), others)
    assert found.nearer.value == 0.5 and found.much_nearer.value == 0.25 and found.ratio.value == pytest.approx(30 / 50)
    assert (found.median, found.typical) == (30, 50) and min(
        found.nearer.standard_error, found.ratio.standard_error
    ) > 0


def test_where_the_data_is_there_twice_the_ratio_is_still_a_number():
    assert closeness(torch.zeros(4).double(), torch.zeros(4).double()).ratio.value == 0


def test_samples_like_the_data_are_as_near_as_held_out_images_are():
    found = measured(dataset(200, 0), dataset(300, 1), dataset(200, 2))
    for kind in ("in_pixels", "in_features"):
        assert abs(found[kind]["nearer"]["value"] - 0.5) < 3 * found[kind]["nearer"]["standard_error"]
        assert found[kind]["ratio"]["value"] == pytest.approx(1, abs=0.05)
    assert found["compared_with"] == "200 held-out images" and found["training"] == 300 and found["sheet"] is None


def test_copies_show_mirrored_or_not_and_a_few_of_them_too():
    training, held_out = dataset(60, 1), dataset(40, 2)
    found = measured(torch.cat([training[:10], training[20:30].flip(3)]), training, held_out)
    for kind in ("in_pixels", "in_features"):
        assert found[kind]["nearer"]["value"] == found[kind]["much_nearer"]["value"] == 1
        assert found[kind]["ratio"]["value"] == found[kind]["median_distance"] == 0
    some = measured(torch.cat([dataset(90, 3), training[:10]]), training, held_out)
    assert some["in_pixels"]["much_nearer"]["value"] >= 0.1


def test_without_held_out_images_the_training_images_are_compared_with_each_other():
    training = dataset(50, 1)
    training[:5] = training[5:10].flip(3)
    found = measured(dataset(40, 0), training, training[:0])
    assert found["compared_with"] == "50 other training images" and found["in_pixels"]["typical_distance"] > 50


def test_pixel_distances_are_root_mean_squares_of_gray_and_color_alike():
    training = torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
    found = measured(
        torch.full((3, 1, 8, 8), 110, dtype=torch.uint8), training, torch.full((2, 1, 8, 8), 120, dtype=torch.uint8)
    )
    assert found["in_pixels"]["median_distance"] == pytest.approx(10) and found["in_pixels"][
        "typical_distance"
    ] == pytest.approx(20)


def test_the_sheet_shows_each_sample_beside_what_it_is_nearest_to(tmp_path):
    training = dataset(30, 1)
    measured(
        torch.cat([dataset(5, 0), training[7:8].flip(3)]), training, dataset(20, 2), tmp_path / "new" / "nearest.png"
    )
    with Image.open(tmp_path / "new" / "nearest.png") as sheet:
        tiles = [sheet.crop((8 * i, 0, 8 * i + 8, 8)).tobytes() for i in range(4)]
        assert sheet.size == (8 * 16, 8 * 2)
    assert tiles[0] == tiles[1] == tiles[2] != tiles[3] == b"\xff" * (8 * 8 * 3)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["nearest.png"]
