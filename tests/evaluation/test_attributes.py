"""Attributes of avatars: saving, reading, and novelty."""

import torch

from diffusion_demo.evaluation.attributes import AttributeHeads, load_attribute_heads, novelty

VOCABULARY = {
    "robot": {"eyes": ["round", "square"], "top": ["", "fin", "horns"]},
    "smiley": {"face": ["circle", "blob"]},
}


def heads_that_copy_features() -> AttributeHeads:
    """Heads whose logits are the first features themselves."""
    heads = AttributeHeads(VOCABULARY, features=5)
    for name, parameter in heads.named_parameters():
        parameter.data = torch.eye(*parameter.shape) if name.endswith("weight") else torch.zeros_like(parameter)
    return heads


def test_the_predicted_values_are_those_of_the_image_s_class():
    vectors = torch.tensor([[0.0, 9, 0, 0, 5], [9, 0, 0, 7, 0], [0, 1, 0, 0, 0]])
    combinations = heads_that_copy_features().predict(vectors, torch.tensor([0, 0, 1]))
    assert combinations == [(0, 1, 2), (0, 0, 1), (1, 1)]


def test_heads_are_read_as_they_were_written(tmp_path):
    torch.manual_seed(0)
    heads, vectors, labels = AttributeHeads(VOCABULARY, 5), torch.randn(40, 5), torch.arange(40) % 2
    heads.save(tmp_path)
    loaded = load_attribute_heads(tmp_path)
    assert loaded.class_names == ["robot", "smiley"]
    assert loaded.predict(vectors, labels) == heads.predict(vectors, labels)
    for ours, theirs in zip(loaded.logits(vectors, 0), heads.logits(vectors, 0), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=0)


def test_novelty_is_the_share_of_unseen_combinations():
    training = [(0, 1, 2), (0, 0, 1), (1, 1)]
    share, error, images = novelty([(0, 1, 2), (0, 1, 1), (1, 0), (1, 1)], training)
    assert (share, images) == (0.5, 4) and error == 0.25
    assert novelty([(0, 1, 2)] * 3, training).share == 0
    assert novelty([(1, 1), (0, 0, 0), (0, 0, 0), (0, 0, 0)], training).share == 0.75, "each image counts"
