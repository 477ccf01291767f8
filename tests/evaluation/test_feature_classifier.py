"""The bundled feature classifier."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_demo.evaluation.attributes import load_attribute_heads
from diffusion_demo.evaluation.feature_classifier import (
    FEATURE_CLASSIFIER,
    extract_features,
    feature_classifier_extractor,
    load_feature_classifier,
)
from scripts.avatars import STYLES, AvatarSpec, draw_avatar
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def classifier():
    return load_feature_classifier()


def as_tensor(image):
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def random_images(count, channels=3, side=32):
    return torch.randint(
        0, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def test_the_classifier_is_small_and_names_avatars(classifier):
    assert set(classifier.config.class_names) == set(STYLES) and not classifier.training
    assert sum(path.stat().st_size for path in FEATURE_CLASSIFIER.iterdir()) < 10_000_000
    paths = sorted((ROOT / "checkpoints" / "avatars-32" / "thumbnails").glob("*.png"))
    images = torch.stack([as_tensor(Image.open(path)) for path in paths])
    named = feature_classifier_extractor(classifier)(images).probabilities.argmax(1)
    assert [classifier.config.class_names[index] for index in named] == [path.stem for path in paths]


def test_the_color_of_a_smiley_is_read_from_its_image(classifier):
    heads = load_attribute_heads(FEATURE_CLASSIFIER)
    column, values = 1 + list(heads.vocabulary["smiley"]).index("faceColor"), heads.vocabulary["smiley"]["faceColor"]
    drawn = [draw_avatar(AvatarSpec("smiley", 2_000_000 + i, 32)) for i in range(20)]
    vectors = extract_features(torch.stack([as_tensor(image) for image, _ in drawn]), classifier)
    named = heads.predict(vectors, torch.full((20,), heads.class_names.index("smiley")))
    right = [values[row[column]] == chosen["faceColor"] for row, (_, chosen) in zip(named, drawn, strict=True)]
    assert sum(right) >= 12, "one of twelve by chance"


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


def test_larger_images_are_reduced_with_antialiasing_as_by_pillow(classifier):
    """Without it, the features are those of a quarter of the pixels. Parmar et al. 2022."""
    large = random_images(4, side=128)
    pillow = [
        Image.fromarray(image.permute(1, 2, 0).numpy()).resize((32, 32), Image.Resampling.BILINEAR) for image in large
    ]
    expected = extract_features(torch.stack([as_tensor(image) for image in pillow]), classifier)
    found, plain = extract_features(large, classifier), extract_features(large[:, :, ::4, ::4], classifier)
    assert (found - expected).abs().max() < 0.1 * (plain - expected).abs().max()


def test_the_logits_are_the_head_of_the_features(classifier):
    x, t = torch.rand(2, 3, 32, 32) * 2 - 1, torch.tensor([0, 500])
    with torch.no_grad():
        torch.testing.assert_close(classifier(x, t), classifier.head(classifier.features(x, t)))
        assert not torch.allclose(classifier(x, t)[1], classifier(x, torch.tensor([0, 0]))[1]), "the logits depend on t"
