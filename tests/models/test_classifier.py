"""The noisy classifier: its pool, its beginning from a diffusion model, and its folder."""

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


def randomised(network):
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_fresh_classifier_has_the_presets_downward_half_and_answers_for_every_class(preset):
    classifier, t = build_classifier(preset, 32, 1, ["a", "b", "c"], dropout=0.0).eval(), torch.tensor([0, 999])
    names = {
        name
        for name in build_unet(preset, 32, 1, False, 0).state_dict()
        if name.startswith(("conv_in", "time_emb", "down_blocks", "mid_block"))
    }
    assert {name for name in classifier.state_dict() if not name.startswith(("norm", "head"))} == names
    with torch.no_grad():
        logits = classifier(torch.randn(2, 1, 32, 32), t)
        assert logits.shape == (2, 3) and logits.std() > 0, "the pool does not begin with zeros"
        assert classifier.features(torch.randn(2, 1, 32, 32), t).shape == (2, PRESETS[preset].widths[-1])
    assert not classifier.down_blocks[0].resnets[0].conv2.weight.any(), "the trunk's outputs do"


def test_the_pool_asks_as_the_mean_and_sees_every_pixel_at_its_place():
    torch.manual_seed(0)
    pool, x = AttentionPool(32, 4, 8, 5), torch.randn(1, 32, 4, 4)
    assert pool.heads == 4 and pool.positional_embedding.shape == (32, 17)
    with torch.no_grad():
        assert not torch.allclose(pool(x), pool(x.flip(3)), atol=1e-3), "it would not see where the pixels are"
        pool.positional_embedding.zero_()
        torch.testing.assert_close(pool(x), pool(x.flip(3)))
    with pytest.raises(ValueError, match="heads of 24"):
        AttentionPool(32, 4, 24, 5)


def test_a_classifier_begins_with_a_diffusion_models_downward_half():
    unet = randomised(build_unet("tiny", 16, 3, learns_variance=True, num_classes=3))
    classifier = build_classifier("tiny", 16, 3, ["a", "b"]).eval()
    head = {
        name: tensor.clone() for name, tensor in classifier.state_dict().items() if name.startswith(("norm", "head"))
    }
    assert copy_trunk(classifier, unet) == ()
    xt, t, seen = noise(), torch.tensor([3, 700]), []
    unet.mid_block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    classifier.mid_block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    unet.class_embedding.weight.data.zero_()
    with torch.no_grad():
        unet(xt, t, class_labels=torch.tensor([0, 1]))
        classifier(xt, t)
    assert torch.equal(*seen) and seen[0].std() > 0.1
    assert all(torch.equal(classifier.state_dict()[name], tensor) for name, tensor in head.items())


def test_what_does_not_fit_stays_and_is_named():
    classifier = build_classifier("tiny", 16, 1, ["a", "b"])
    first = classifier.conv_in.weight.clone()
    unet = randomised(build_unet("tiny", 16, 3, learns_variance=False, num_classes=0))
    assert copy_trunk(classifier, unet) == ("conv_in.weight",)
    assert torch.equal(classifier.conv_in.weight, first)
    assert torch.equal(classifier.mid_block.resnets[0].conv2.weight, unet.mid_block.resnets[0].conv2.weight)


@pytest.mark.parametrize("pool", POOLS)
def test_a_saved_classifier_answers_as_before(pool, tmp_path):
    trunk = trunk_config(build_unet("tiny", 16, 3, learns_variance=False, num_classes=0))
    classifier = randomised(Classifier(trunk=trunk, class_names=["кот", "犬", "c"], pool=pool, head_channels=16))
    save_classifier(tmp_path / "c", classifier)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["config.json", WEIGHTS]
    found, t = load_classifier(tmp_path / "c"), torch.tensor([3, 700])
    assert list(found.config.class_names) == ["кот", "犬", "c"] and not found.training
    with torch.no_grad():
        torch.testing.assert_close(found(noise(), t), classifier(noise(), t))
        torch.testing.assert_close(found.features(noise(), t), classifier.features(noise(), t))


def test_a_damaged_classifier_is_refused_in_one_sentence(tmp_path):
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
        with pytest.raises(BadInput, match="is no classifier, or a damaged one"):
            load_classifier(tmp_path / name)
    with pytest.raises(BadInput, match="is no classifier"):
        load_classifier(tmp_path / "nowhere")


def test_a_pickled_classifier_is_not_read(tmp_path):
    classifier = build_classifier("tiny", 16, 3, ["a", "b"])
    classifier.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(BadInput, match="is no classifier"):
        load_classifier(tmp_path)
