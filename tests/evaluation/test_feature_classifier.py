"""The bundled feature classifier."""

import pytest
import torch

from diffusion_demo.evaluation.feature_classifier import FEATURE_CLASSIFIER, extract_features, load_feature_classifier


@pytest.fixture(scope="module")
def classifier():
    return load_feature_classifier()


def random_images(count, channels=3, side=32):
    return torch.randint(
        0, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def test_the_classifier_is_small_and_has_the_emoji_classes(classifier):
    assert len(classifier.config.class_names) == 9 and not classifier.training
    assert sum(path.stat().st_size for path in FEATURE_CLASSIFIER.iterdir()) < 10_000_000
    assert "held-out" in (FEATURE_CLASSIFIER / "README.md").read_text()


def test_features_do_not_depend_on_the_batch(classifier):
    together = extract_features(random_images(70), classifier)
    assert together.shape == (70, classifier.head.in_features)
    torch.testing.assert_close(
        extract_features(random_images(70)[66:67], classifier), together[66:67], rtol=1e-4, atol=1e-5
    )


def test_grayscale_and_other_sizes_are_supported(classifier):
    gray = random_images(2, channels=1)
    torch.testing.assert_close(
        extract_features(gray, classifier), extract_features(gray.expand(-1, 3, -1, -1), classifier)
    )
    assert extract_features(random_images(2, side=64), classifier).shape == (2, classifier.head.in_features)


def test_the_logits_are_the_head_of_the_features(classifier):
    x, t = torch.rand(2, 3, 32, 32) * 2 - 1, torch.tensor([0, 500])
    with torch.no_grad():
        torch.testing.assert_close(classifier(x, t), classifier.head(classifier.features(x, t)))
        assert not torch.allclose(classifier(x, t)[1], classifier(x, torch.tensor([0, 0]))[1]), "the logits depend on t"
