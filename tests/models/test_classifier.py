"""The noisy classifier: attention pool, initialization from a diffusion model, saving and loading."""

import json

import pytest
import torch

from diffusion_demo.errors import BadInput
from diffusion_demo.models.classifier import (
    Classifier,
    build_classifier,
    copy_trunk,
    load_classifier,
    save_classifier,
    trunk_config,
)
from diffusion_demo.models.classifier_heads import POOLS, AttentionPool
from diffusion_demo.models.unet import PRESETS, build_unet

WEIGHTS = "diffusion_pytorch_model.safetensors"


def noise(n=2, channels=3):
    return torch.randn(n, channels, 16, 16, generator=torch.Generator().manual_seed(0))


def randomized(network):
    """Give the zero-initialized layers random weights, because zeros would hide errors."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_fresh_classifier_has_the_presets_trunk_and_one_logit_per_class(preset):
    classifier, t = build_classifier(preset, 32, 1, ["a", "b", "c"], dropout=0.0).eval(), torch.tensor([0, 999])
    names = {
        name
        for name in build_unet(preset, 32, 1, False, 0).state_dict()
        if name.startswith(("conv_in", "time_emb", "down_blocks", "mid_block"))
    }
    assert {name for name in classifier.state_dict() if not name.startswith(("norm", "head"))} == names
    with torch.no_grad():
        logits = classifier(torch.randn(2, 1, 32, 32), t)
        assert logits.shape == (2, 3) and logits.std() > 0, "the head must not be initialized to zeros"
        assert classifier.features(torch.randn(2, 1, 32, 32), t).shape == (2, PRESETS[preset].widths[-1])
    conv2 = classifier.state_dict()["down_blocks.0.resnets.0.conv2.weight"]
    assert not conv2.any(), "the residual blocks of the trunk must be"


def test_the_attention_pool_depends_on_pixel_positions():
    torch.manual_seed(0)
    pool, x = AttentionPool(32, 4, 8, 5), torch.randn(1, 32, 4, 4)
    assert pool.heads == 4 and pool.positional_embedding.shape == (32, 17)
    with torch.no_grad():
        assert not torch.allclose(pool(x), pool(x.flip(3)), atol=1e-3), "a flip must change the output"
        pool.positional_embedding.zero_()
        torch.testing.assert_close(pool(x), pool(x.flip(3)))
    with pytest.raises(ValueError, match="heads of 24"):
        AttentionPool(32, 4, 24, 5)


def test_a_classifier_copies_the_trunk_of_a_diffusion_model():
    unet = randomized(build_unet("tiny", 16, 3, learns_variance=True, num_classes=3))
    classifier = build_classifier("tiny", 16, 3, ["a", "b"]).eval()
    head = {
        name: tensor.clone() for name, tensor in classifier.state_dict().items() if name.startswith(("norm", "head"))
    }
    assert copy_trunk(classifier, unet) == ()
    xt, t, middles = noise(), torch.tensor([3, 700]), []
    unet.get_submodule("mid_block").register_forward_hook(lambda module, inputs, output: middles.append(output))
    classifier.get_submodule("mid_block").register_forward_hook(lambda module, inputs, output: middles.append(output))
    unet.state_dict()["class_embedding.weight"].zero_()
    with torch.no_grad():
        unet(xt, t, class_labels=torch.tensor([0, 1]))
        classifier(xt, t)
    assert torch.equal(*middles) and middles[0].std() > 0.1
    assert all(torch.equal(classifier.state_dict()[name], tensor) for name, tensor in head.items())


def test_tensors_of_another_shape_are_kept_and_reported():
    classifier = build_classifier("tiny", 16, 1, ["a", "b"])
    conv_in = classifier.state_dict()["conv_in.weight"].clone()
    unet = randomized(build_unet("tiny", 16, 3, learns_variance=False, num_classes=0))
    assert copy_trunk(classifier, unet) == ("conv_in.weight",)
    assert torch.equal(classifier.state_dict()["conv_in.weight"], conv_in)
    copied = "mid_block.resnets.0.conv2.weight"
    assert torch.equal(classifier.state_dict()[copied], unet.state_dict()[copied])


@pytest.mark.parametrize("pool", POOLS)
def test_a_loaded_classifier_has_the_same_outputs(pool, tmp_path):
    trunk = trunk_config(build_unet("tiny", 16, 3, learns_variance=False, num_classes=0))
    classifier = randomized(Classifier(trunk=trunk, class_names=["кот", "犬", "c"], pool=pool, head_channels=16))
    save_classifier(tmp_path / "c", classifier)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["config.json", WEIGHTS]
    loaded, t = load_classifier(tmp_path / "c"), torch.tensor([3, 700])
    assert list(loaded.config["class_names"]) == ["кот", "犬", "c"] and not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(noise(), t), classifier(noise(), t))
        torch.testing.assert_close(loaded.features(noise(), t), classifier.features(noise(), t))


def test_a_classifier_of_a_thousand_classes_is_loaded_and_its_trunk_is_checked(tmp_path):
    save_classifier(tmp_path, build_classifier("tiny", 16, 3, [str(i) for i in range(1000)]))
    assert len(load_classifier(tmp_path).config["class_names"]) == 1000
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    config["trunk"]["dropout"] = "x"
    file.write_text(json.dumps(config))
    with pytest.raises(BadInput):
        load_classifier(tmp_path)


def test_a_damaged_classifier_is_refused(tmp_path):
    classifier = build_classifier("tiny", 16, 3, ["a", "b"])

    def cut(folder):
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:5000])

    damages = {
        "weights cut": cut,
        "weights gone": lambda folder: (folder / WEIGHTS).unlink(),
        "config gone": lambda folder: (folder / "config.json").unlink(),
        "no JSON": lambda folder: (folder / "config.json").write_text("{"),
        "no classifier": lambda folder: build_unet("tiny", 16, 3, False, 0).save_pretrained(folder),
        "another pool": lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace('"pool": "attention"', '"pool": "adaptive"')
        ),
        "no such pool": lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace('"pool": "attention"', '"pool": "deep"')
        ),
        "other widths": lambda folder: (folder / "config.json").write_text(
            (folder / "config.json").read_text().replace("96", "64")
        ),
    }
    for name, damage in damages.items():
        save_classifier(tmp_path / name, classifier)
        assert load_classifier(tmp_path / name) is not None
        damage(tmp_path / name)
        with pytest.raises(BadInput, match="is not a classifier or is damaged"):
            load_classifier(tmp_path / name)
    with pytest.raises(BadInput, match="is not a classifier"):
        load_classifier(tmp_path / "nowhere")


def test_a_pickled_classifier_is_refused(tmp_path):
    classifier = build_classifier("tiny", 16, 3, ["a", "b"])
    classifier.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(BadInput, match="is not a classifier"):
        load_classifier(tmp_path)
