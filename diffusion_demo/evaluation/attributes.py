"""Attributes of avatars (variants and colors of their parts) read from an image, and the novelty of combinations."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

ABSENT = ""  # the value of an attribute that an image does not have, such as the hat of a bare head
CONFIG_NAME, WEIGHTS_NAME = "attributes.json", "attributes.safetensors"

Vocabulary = Mapping[str, Mapping[str, Sequence[str]]]  # values by class name and attribute


class AttributeHeads(nn.Module):
    """One linear classifier for each attribute of each class, on the features of the feature classifier.

    vocabulary  the values of each attribute, by class name and attribute; classes in the order of their indices
    features    D, the width of the features
    """

    def __init__(self, vocabulary: Vocabulary, features: int):
        super().__init__()
        self.vocabulary = vocabulary
        self.class_names = list(vocabulary)
        self.sizes = [[len(values) for values in attributes.values()] for attributes in vocabulary.values()]
        self.heads = nn.ModuleList(nn.Linear(features, sum(sizes)) for sizes in self.sizes)

    def logits(self, vectors: Tensor, class_index: int) -> list[Tensor]:
        """Return the logits, float [N, values], of each attribute of a class, for features float [N, D]."""
        return list(self.heads[class_index](vectors).split(self.sizes[class_index], dim=1))

    @torch.no_grad()
    def predict(self, vectors: Tensor, labels: Tensor) -> list[tuple[int, ...]]:
        """Return class and value index of each of its attributes, for features float [N, D] and classes int64 [N]."""
        combinations: list[tuple[int, ...]] = [()] * len(vectors)
        for class_index in labels.unique().tolist():
            rows = (labels == class_index).nonzero()[:, 0]
            values = torch.stack([group.argmax(1) for group in self.logits(vectors[rows], class_index)], dim=1)
            for row, chosen in zip(rows.tolist(), values.tolist(), strict=True):
                combinations[row] = (class_index, *chosen)
        return combinations

    def save(self, folder: Path) -> None:
        """Write the vocabulary and the weights into `folder`."""
        (folder / CONFIG_NAME).write_text(json.dumps(self.vocabulary, indent=1), encoding="utf-8")
        save_file({name: tensor.half() for name, tensor in self.state_dict().items()}, folder / WEIGHTS_NAME)


def load_attribute_heads(folder: Path) -> AttributeHeads:
    """Load the heads that AttributeHeads.save wrote, in float32 and eval mode."""
    vocabulary = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    weights = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS_NAME).items()}
    heads = AttributeHeads(vocabulary, features=weights["heads.0.weight"].shape[1])
    heads.load_state_dict(weights)
    return heads.eval()


class Novelty(NamedTuple):
    """Share of images whose combination no training image has, its standard error, and the number of images."""

    share: float
    standard_error: float
    images: int


def novelty(combinations: Sequence[tuple[int, ...]], training: Sequence[tuple[int, ...]]) -> Novelty:
    """Return the share of `combinations` that do not occur in `training`. At least one combination is needed.

    Both come from AttributeHeads.predict. The same classifier must read samples, test images and training images, so
    that its errors count alike for all.
    """
    known = set(training)
    share = sum(combination not in known for combination in combinations) / len(combinations)
    return Novelty(share, (share * (1 - share) / len(combinations)) ** 0.5, len(combinations))
