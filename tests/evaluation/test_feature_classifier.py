"""The judge that ships, and its features."""

import pytest
import torch

from diffusion_demo.evaluation.feature_classifier import FEATURE_CLASSIFIER, extract_features, load_feature_classifier


@pytest.fixture(scope="module")
def judge():
    return load_feature_classifier()


def images(count, channels=3, side=32):
    return torch.randint(
        0, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def test_the_judge_is_small_and_knows_the_emoji_classes(judge):
    assert len(judge.config.class_names) == 9 and not judge.training
    assert sum(path.stat().st_size for path in FEATURE_CLASSIFIER.iterdir()) < 10_000_000
    assert "held-out" in (FEATURE_CLASSIFIER / "README.md").read_text()


def test_features_do_not_depend_on_the_batch(judge):
    together = extract_features(images(70), judge)
    assert together.shape == (70, judge.head.in_features)
    torch.testing.assert_close(extract_features(images(70)[66:67], judge), together[66:67], rtol=1e-4, atol=1e-5)


def test_grayscale_images_and_other_sizes_have_features_too(judge):
    gray = images(2, channels=1)
    torch.testing.assert_close(extract_features(gray, judge), extract_features(gray.expand(-1, 3, -1, -1), judge))
    assert extract_features(images(2, side=64), judge).shape == (2, judge.head.in_features)


def test_the_logits_are_the_head_of_the_features(judge):
    x, t = torch.rand(2, 3, 32, 32) * 2 - 1, torch.tensor([0, 500])
    with torch.no_grad():
        torch.testing.assert_close(judge(x, t), judge.head(judge.features(x, t)))
        assert not torch.allclose(judge(x, t)[1], judge(x, torch.tensor([0, 0]))[1]), "it is told t"
