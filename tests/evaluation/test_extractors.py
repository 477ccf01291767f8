"""The two extractors: the judge, and Inception where a person has torch-fidelity."""

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
def judge():
    return load_feature_classifier()


def dataset(count, channels=3, side=32):
    return torch.randint(
        0, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def test_one_pass_gives_all_that_the_judge_knows(judge):
    found = feature_classifier_extractor(judge)(dataset(70))
    assert (
        found.vectors.shape == (70, 96)
        and found.spatial.shape == (70, 7 * 4 * 4)
        and found.probabilities.shape == (70, 9)
    )
    torch.testing.assert_close(found.vectors, extract_features(dataset(70), judge))
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(70))
    with torch.no_grad():
        logits = judge(to_float(dataset(70)), torch.zeros(70, dtype=torch.int64))
    torch.testing.assert_close(found.probabilities, logits.softmax(1), rtol=1e-3, atol=1e-5)


def test_spatial_features_are_of_the_map_that_is_pooled_and_know_where(judge):
    """The whole map, normalised and averaged, is the vectors; a mirrored image has other spatial features at mirrored places."""
    maps = []
    hook = judge.mid_block.register_forward_hook(lambda block, given, output: maps.append(output))
    found = feature_classifier_extractor(judge)(dataset(4))
    hook.remove()
    assert len(maps) == 1
    with torch.no_grad():
        torch.testing.assert_close(
            nn.functional.silu(judge.norm(maps[0])).mean(dim=(2, 3)), found.vectors, rtol=1e-4, atol=1e-5
        )
    expected = maps[0][:, :7].unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(found.spatial, expected)
    assert not judge.mid_block._forward_hooks


def test_gray_and_larger_images_are_read_too(judge):
    extractor = feature_classifier_extractor(judge)
    gray = extractor(dataset(3, channels=1))
    torch.testing.assert_close(gray.spatial, extractor(dataset(3, channels=1).expand(-1, 3, -1, -1)).spatial)
    assert extractor(dataset(2, side=48)).spatial.shape == (2, 112)


def test_without_torch_fidelity_inception_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(BadInput, match=r"pip install torch-fidelity, or use --features judge\.$"):
        inception_extractor()


def test_a_torch_fidelity_that_does_not_load_is_refused_too(monkeypatch, tmp_path):
    """As it is with a torchvision that was built for another torch: the import raises RuntimeError."""
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
    """torch-fidelity's module, where it is installed: it is no dependency."""
    try:
        from torch_fidelity import feature_extractor_inceptionv3
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torch-fidelity is not here ({error})")
    return feature_extractor_inceptionv3


def test_weights_that_cannot_be_fetched_are_one_sentence(fidelity, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(
        BadInput,
        match=r"^Inception's weights cannot be had \(.+\); try again with a network, or use --features judge\.$",
    ):
        inception_extractor()


def test_the_adapter_reads_torch_fidelitys_network(fidelity, monkeypatch, tmp_path):
    """With random weights in the place of the real file: shapes, sums, and that each part is what the network itself gives."""
    network_class = fidelity.FeatureExtractorInceptionV3
    with monkeypatch.context() as patched:
        patched.setattr(fidelity, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patched.setattr(network_class, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = network_class("random", ["2048", "logits_unbiased", "768"])
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / WEIGHTS)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = inception_extractor()(dataset(3))
    vectors, logits, _ = network(dataset(3))
    assert found.spatial.shape == (3, 7 * 17 * 17) and found.probabilities.shape == (3, 1008)
    torch.testing.assert_close(found.vectors, vectors)
    torch.testing.assert_close(found.probabilities, logits.softmax(1))
    first = []
    network.Mixed_6d.branch1x1.register_forward_hook(lambda block, given, output: first.append(output))
    network(dataset(3))
    torch.testing.assert_close(found.spatial, first[0][:, :7].flatten(1))
