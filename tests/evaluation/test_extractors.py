"""Feature extractors: the bundled feature classifier, and Inception if torch-fidelity is installed."""

import sys

import pytest
import torch
from torch import nn

from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.feature_classifier import (
    extract_features,
    feature_classifier_extractor,
    load_feature_classifier,
)
from diffusion_demo.evaluation.inception import inception_extractor
from diffusion_demo.images import to_float

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="module")
def classifier():
    return load_feature_classifier()


def random_images(count, channels=3, side=32):
    return torch.randint(
        0, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def test_one_pass_gives_all_features(classifier):
    features = feature_classifier_extractor(classifier)(random_images(70))
    assert (
        features.vectors.shape == (70, 96)
        and features.spatial.shape == (70, 7 * 4 * 4)
        and features.probabilities.shape == (70, 10)
    )
    torch.testing.assert_close(features.vectors, extract_features(random_images(70), classifier))
    torch.testing.assert_close(features.probabilities.sum(1), torch.ones(70))
    with torch.no_grad():
        logits = classifier(to_float(random_images(70)), torch.zeros(70, dtype=torch.int64))
    torch.testing.assert_close(features.probabilities, logits.softmax(1), rtol=1e-3, atol=1e-5)


def test_spatial_features_are_those_of_the_pooled_map(classifier):
    """The vectors are the whole map, normalized and averaged."""
    maps = []
    hook = classifier.mid_block.register_forward_hook(lambda module, args, output: maps.append(output))
    features = feature_classifier_extractor(classifier)(random_images(4))
    hook.remove()
    assert len(maps) == 1
    with torch.no_grad():
        torch.testing.assert_close(
            nn.functional.silu(classifier.norm(maps[0])).mean(dim=(2, 3)), features.vectors, rtol=1e-4, atol=1e-5
        )
    expected = maps[0][:, :7].unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(features.spatial, expected)
    assert not classifier.mid_block._forward_hooks


def test_grayscale_and_larger_images_are_supported(classifier):
    extractor = feature_classifier_extractor(classifier)
    gray = extractor(random_images(3, channels=1))
    torch.testing.assert_close(gray.spatial, extractor(random_images(3, channels=1).expand(-1, 3, -1, -1)).spatial)
    assert extractor(random_images(2, side=48)).spatial.shape == (2, 112)


def test_a_missing_torch_fidelity_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(BadInput, match=r"pip install torch-fidelity, or use --features avatars\.$"):
        inception_extractor()


def test_a_torch_fidelity_that_does_not_load_is_reported(monkeypatch, tmp_path):
    """The import raises RuntimeError if torchvision was built for another torch version."""
    (tmp_path / "torch_fidelity").mkdir()
    (tmp_path / "torch_fidelity" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch_fidelity"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match=r"does not load \(operator torchvision::nms does not exist\)"):
        inception_extractor()


@pytest.fixture
def fidelity():
    """The module of torch-fidelity, an optional package."""
    try:
        from torch_fidelity import (  # pyright: ignore[reportMissingImports]  optional
            feature_extractor_inceptionv3,
        )
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torch-fidelity is not available ({error})")
    return feature_extractor_inceptionv3


def test_failed_downloads_are_reported(fidelity, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(
        BadInput,
        match=r"^The Inception weights are not available \(.+\)\. Check the network connection, or use",
    ):
        inception_extractor()


def test_the_extractor_returns_the_features_of_torch_fidelity(fidelity, monkeypatch, tmp_path):
    """With random weights instead of the real file, each part equals the output of the network itself."""
    network_class = fidelity.FeatureExtractorInceptionV3
    with monkeypatch.context() as patched:
        patched.setattr(fidelity, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patched.setattr(network_class, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = network_class("random", ["2048", "logits_unbiased", "768"])
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / WEIGHTS)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    features = inception_extractor()(random_images(3))
    vectors, logits, _ = network(random_images(3))
    assert features.spatial.shape == (3, 7 * 17 * 17) and features.probabilities.shape == (3, 1008)
    torch.testing.assert_close(features.vectors, vectors)
    torch.testing.assert_close(features.probabilities, logits.softmax(1))
    first = []
    network.Mixed_6d.branch1x1.register_forward_hook(lambda module, args, output: first.append(output))
    network(random_images(3))
    torch.testing.assert_close(features.spatial, first[0][:, :7].flatten(1))
