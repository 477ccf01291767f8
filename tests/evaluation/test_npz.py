"""Sample batches in the .npz format of the papers' code."""

import pickle

import numpy as np
import pytest
import torch

from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.npz import check_output_path, read_npz, write_npz

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
