"""Sample batches in the .npz format of the papers' code."""

import pickle

import numpy as np
import pytest
import torch

from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.extractor import Extractor, Features
from diffusion_demo.evaluation.frechet import feature_statistics, frechet_distance
from diffusion_demo.evaluation.metrics import compute_metrics
from diffusion_demo.evaluation.npz import check_output_path, read_npz, read_statistics, write_npz
from diffusion_demo.evaluation.reference import load_reference
from diffusion_demo.evaluation.samples import Samples

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)


def test_a_batch_that_numpy_wrote_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", IMAGES, np.arange(5))
    images, labels = read_npz(tmp_path / "a.npz")
    assert (
        images.shape == (5, 3, 4, 4)
        and images.dtype == torch.uint8
        and (images.permute(0, 2, 3, 1).numpy() == IMAGES).all()
    )
    assert labels is not None and labels.dtype == torch.int64 and labels.tolist() == [0, 1, 2, 3, 4]
    np.savez_compressed(tmp_path / "b.npz", IMAGES)
    images, labels = read_npz(str(tmp_path / "b.npz"))
    assert (images.permute(0, 2, 3, 1).numpy() == IMAGES).all() and labels is None


def test_written_batches_have_the_format_of_the_papers(tmp_path):
    images = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    write_npz(tmp_path / "a.npz", images, torch.arange(5))
    with np.load(tmp_path / "a.npz") as file:
        assert file.files == ["arr_0", "arr_1"] and file["arr_0"].dtype == np.uint8 and file["arr_1"].dtype == np.int64
        assert (file["arr_0"] == IMAGES).all()
    write_npz(tmp_path / "grey.npz", images[:, :1], None)
    with np.load(tmp_path / "grey.npz") as file:
        assert (
            file.files == ["arr_0"] and (file["arr_0"] == IMAGES[..., :1]).all() and file["arr_0"].shape == (5, 4, 4, 3)
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "grey.npz"]


def _pickled(path):
    np.savez(path, np.array([{"a": 1}], dtype=object))


def _truncated(path):
    np.savez(path, IMAGES)
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "No file at"),
        (lambda path: path.mkdir(), "not a sample batch"),
        (lambda path: path.write_bytes(b""), "not a sample batch"),
        (lambda path: path.write_text("a,b\n1,2\n"), "not a sample batch"),
        (lambda path: path.write_bytes(pickle.dumps({"arr_0": 1})), "not a sample batch"),
        (lambda path: np.save(path.open("wb"), IMAGES), "not a sample batch"),
        (_truncated, "not a sample batch"),
        (_pickled, "not a sample batch"),
        (lambda path: np.savez(path, mu=np.zeros(3)), "has no arr_0"),
        (lambda path: np.savez(path, IMAGES / 255), "not float64 [5, 4, 4, 3]"),
        (lambda path: np.savez(path, IMAGES.transpose(0, 3, 1, 2)[:, :2]), "not uint8 [5, 2, 4, 4]"),
        (lambda path: np.savez(path, IMAGES[:0]), "not uint8 [0, 4, 4, 3]"),
        (lambda path: np.savez(path, IMAGES, np.arange(4)), "each of the 5 images"),
        (lambda path: np.savez(path, IMAGES, np.zeros(5)), "whole number"),
    ],
)
def test_invalid_batches_are_rejected_on_one_line(tmp_path, write, words):
    write(tmp_path / "a.npz")
    with pytest.raises(BadInput) as caught:
        read_npz(tmp_path / "a.npz")
    assert words in str(caught.value) and str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_invalid_output_paths_are_rejected(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for path in (tmp_path / "a.zip", tmp_path / "nowhere" / "a.npz", tmp_path / "folder.npz"):
        with pytest.raises(BadInput):
            check_output_path(path)
    check_output_path(tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]
    with pytest.raises(BadInput, match="Cannot write"):
        write_npz(tmp_path / "nowhere" / "a.npz", torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None)


def flat_features(pixels):
    flat = pixels.flatten(1).float() / 255
    return Features(flat[:, :6], flat[:, 6:10], flat[:, :2].softmax(1))


def statistics_of(seed, size):
    return feature_statistics(torch.randn(30, size, generator=torch.Generator().manual_seed(seed)))


def test_the_frechet_distance_of_statistics_is_that_of_their_features():
    a, b = (torch.randn(30, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert frechet_distance(a, feature_statistics(b)) == frechet_distance(a, b)
    assert frechet_distance(feature_statistics(a), feature_statistics(b)) == frechet_distance(a, b)


@pytest.mark.parametrize("is_papers", [True, False])
def test_stored_statistics_are_the_reference_of_the_papers_features_and_of_no_others(tmp_path, is_papers):
    stored = {"vectors": statistics_of(0, 6), "spatial": statistics_of(1, 4)}
    arrays = {"mu": stored["vectors"].mean, "sigma": stored["vectors"].covariance}
    arrays |= {"mu_s": stored["spatial"].mean, "sigma_s": stored["spatial"].covariance}
    arrays = {name: value.numpy() for name, value in arrays.items()}
    np.savez(tmp_path / "a.npz", IMAGES, **arrays)  # pyright: ignore[reportArgumentType]  none is named allow_pickle
    reference = load_reference(tmp_path / "a.npz")
    samples = Samples(torch.from_numpy(IMAGES[::-1].copy()).permute(0, 3, 1, 2), None, {})
    report = compute_metrics(samples, reference, ["fd", "sfd"], Extractor("any", flat_features, 8, is_papers))
    features, own = flat_features(samples.images), flat_features(read_npz(tmp_path / "a.npz")[0])
    for name, kind in (("fd", "vectors"), ("sfd", "spatial")):
        other = stored[kind] if is_papers else getattr(own, kind)
        assert report[name]["distance"] == pytest.approx(frechet_distance(getattr(features, kind), other))
        assert report[name]["reference_statistics"] == ("stored" if is_papers else "computed")


def test_statistics_of_other_dimensions_are_not_used(tmp_path):
    mean, covariance = statistics_of(0, 7)
    np.savez(tmp_path / "a.npz", IMAGES, mu=mean.numpy(), sigma=covariance.numpy())
    reference = load_reference(tmp_path / "a.npz")
    samples = Samples(torch.from_numpy(IMAGES).permute(0, 3, 1, 2), None, {})
    report = compute_metrics(samples, reference, ["fd"], Extractor("any", flat_features, 8, is_papers=True))
    assert report["fd"]["reference_statistics"] == "computed"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": np.zeros(3), "sigma": np.zeros((3, 2))}, r"must be floats \[D\] and \[D, D\]"),
        ({"mu": np.zeros((3, 1)), "sigma": np.zeros((3, 3))}, "must be floats"),
        ({"mu": np.zeros(3, int), "sigma": np.zeros((3, 3), int)}, "must be floats"),
        ({"mu_s": np.zeros(3), "sigma_s": np.full((3, 3), np.nan)}, "not finite"),
    ],
)
def test_invalid_statistics_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", IMAGES, **arrays)
    with pytest.raises(BadInput, match=words):
        load_reference(tmp_path / "a.npz")


def test_a_batch_without_statistics_has_none(tmp_path):
    np.savez(tmp_path / "a.npz", IMAGES, mu=np.zeros(3))
    assert read_statistics(tmp_path / "a.npz") == {}
