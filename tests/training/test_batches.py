"""Training batches: determined by seed and step, each training image equally often, no held-out image."""

import pytest
import torch

from diffusion_demo.data import ImageTensors, load, scan
from diffusion_demo.images import to_float
from diffusion_demo.training.batches import batch_indices, held_out_batches, make_batch, sample_indices
from diffusion_demo.training.config import TrainConfig


def test_held_out_images_are_in_no_batch_and_every_other_image_is_in_each_epoch(digits):
    report = scan(digits)
    training, held_out = load(report, 16, 1, False), load(report, 16, 1, True)
    assert len(held_out) >= 2 and len(training) + len(held_out) == 60
    config = TrainConfig(data="digits", batch_size=len(training), flip=False)
    forbidden = {image.numpy().tobytes() for image in to_float(held_out.images)}
    for step in (1, 2, 3):
        batch = make_batch(config, training, 3, 1000, step)
        seen = {image.numpy().tobytes() for image in batch.x0}
        assert seen == {image.numpy().tobytes() for image in to_float(training.images)}
        assert not seen & forbidden


def test_the_held_out_measure_uses_held_out_images_only_at_noise_that_never_changes(digits):
    held_out = load(scan(digits), 16, 1, True)
    first, again = list(held_out_batches(held_out, 1000, 8)), list(held_out_batches(held_out, 1000, 8))
    assert sum(len(batch.x0) for batch in first) == 4 * len(held_out)
    many = ImageTensors(
        torch.arange(2000, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 16, 16), torch.arange(2000)
    )
    labels = torch.cat([batch.labels for batch in held_out_batches(many, 1000, 64)])
    assert len(labels) == 512 == len(labels.unique()) and labels.max() > 1990, "a large dataset is subsampled evenly"
    allowed = {image.numpy().tobytes() for image in to_float(held_out.images)}
    assert {image.numpy().tobytes() for batch in first for image in batch.x0} == allowed
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.eps, b.eps) and torch.equal(a.t, b.t)


def test_a_batch_is_decided_by_the_seed_and_its_step(digits):
    dataset = load(scan(digits), 16, 1, False)
    config = TrainConfig(data="digits", batch_size=8)
    first, again, later = (make_batch(config, dataset, 3, 1000, step) for step in (5, 5, 6))
    other = make_batch(TrainConfig(data="digits", batch_size=8, seed=1), dataset, 3, 1000, 5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.eps, later.eps) and not torch.equal(first.eps, other.eps)


@pytest.mark.parametrize(("batch_size", "count"), [(32, 3), (8, 20), (7, 7), (5, 13)])
def test_every_image_is_seen_equally_often(batch_size, count):
    config = TrainConfig(data="digits", batch_size=batch_size)
    seen = torch.cat([sample_indices(config, step, count) for step in range(1, count + 1)])
    assert torch.bincount(seen, minlength=count).tolist() == [batch_size] * count


def test_every_epoch_and_every_seed_has_its_own_order():
    configs = [TrainConfig(data="digits", batch_size=20, seed=seed) for seed in (0, 1)]
    orders = [tuple(sample_indices(config, epoch, 20).tolist()) for config in configs for epoch in (1, 2, 3)]
    assert len(set(orders)) == 6 and {tuple(sorted(order)) for order in orders} == {tuple(range(20))}


def test_labels_are_dropped_to_the_null_class_at_the_rate_asked_for(digits):
    dataset = load(scan(digits), 16, 1, False)
    for rate in (0.0, 0.3):
        config = TrainConfig(data="digits", batch_size=2000, label_dropout=rate)
        labels = make_batch(config, dataset, 3, 1000, 1).labels
        assert abs((labels == 3).float().mean().item() - rate) < 0.05


def test_images_are_mirrored_half_of_the_time_or_never(digits):
    dataset = load(scan(digits), 16, 1, False)
    originals = {image.numpy().tobytes() for image in to_float(dataset.images)}
    for flip, low, high in ((True, 0.4, 0.6), (False, 1.0, 1.0)):
        x0 = make_batch(TrainConfig(data="digits", batch_size=1000, flip=flip), dataset, None, 1000, 1).x0
        share = sum(image.numpy().tobytes() in originals for image in x0) / 1000
        assert low <= share <= high


def test_balanced_batches_hold_every_class_equally_often_and_every_image():
    labels = torch.tensor([0] * 40 + [1] * 4 + [2] * 7)
    config = TrainConfig(data="", batch_size=30, balance_classes=True)
    seen = torch.cat([batch_indices(config, step, labels) for step in range(1, 5)])  # an epoch of 3 x 40
    assert labels[seen].bincount().tolist() == [40, 40, 40]
    assert seen.bincount(minlength=51).min() >= 1 and seen[labels[seen] == 1].bincount()[40:].tolist() == [10] * 4
    off = TrainConfig(data="", batch_size=30)
    assert torch.equal(batch_indices(off, 3, labels), sample_indices(off, 3, 51))
