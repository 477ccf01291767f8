"""Adapt the weights of a U-Net to other classes, channels, image sizes or dropout rates."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

CLASS_EMBEDDING = "class_embedding.weight"


def rebuild(unet: UNet2DModel, weights: Mapping[str, Tensor] | None = None, **settings: Any) -> UNet2DModel:
    """Return a copy of `unet` with the config values in `settings` and the tensors in `weights` replaced."""
    return _build(unet, unet.state_dict() | dict(weights or {}), **settings)


def with_class_embedding(unet: UNet2DModel, table: Tensor) -> UNet2DModel:
    """Return a copy of `unet` with the class embedding `table`, float [rows, D]. The last row is the null class."""
    return rebuild(unet, {CLASS_EMBEDDING: table}, num_class_embeds=len(table))


def zero_embedding_table(unet: UNet2DModel, num_classes: int) -> Tensor:
    """Return a class embedding of zeros, float [num_classes + 1, D], for a network without classes.

    With it, the output for every class equals the output of the network without classes.
    """
    return torch.zeros(num_classes + 1, unet.time_embedding.linear_2.out_features)


def class_embedding_for(unet: UNet2DModel, old: tuple[str, ...], new: tuple[str, ...], null_is_trained: bool) -> Tensor:
    """Return a class embedding for the classes `new`, float [len(new) + 1, D], built from that of the classes `old`.

    Classes that keep their name keep their row; the others start from the null class. The null row is copied if it
    was trained, and is the mean of the other rows otherwise.
    """
    table = unet.state_dict()[CLASS_EMBEDDING]
    null = table[len(old)] if null_is_trained else table[: len(old)].mean(0)
    index = {name: i for i, name in enumerate(old)}
    return torch.stack([table[index[name]] if name in index else null for name in new] + [null])


def fold_class_into_time_bias(unet: UNet2DModel, row: Tensor) -> UNet2DModel:
    """Return a network without classes whose output equals that of `unet` for the class with the embedding `row`, [D].

    The row is added to the bias of the last layer of the time embedding.
    """
    weights = unet.state_dict()
    del weights[CLASS_EMBEDDING]
    weights["time_embedding.linear_2.bias"] = weights["time_embedding.linear_2.bias"] + row
    return _build(unet, weights, num_class_embeds=None)


def with_null_class(unet: UNet2DModel, names: tuple[str, ...]) -> UNet2DModel:
    """Add a null class, the mean of the other rows, if the class embedding has exactly one row per class in `names`."""
    if unet.config["num_class_embeds"] != len(names) or not names:
        return unet
    return with_class_embedding(unet, class_embedding_for(unet, names, names, null_is_trained=False))


def with_rgb_channels(unet: UNet2DModel) -> UNet2DModel:
    """Return a three-channel copy of a grayscale network. For three equal channels its outputs equal the original's.

    conv_in averages the three channels (its weights are repeated and divided by 3); the rows of conv_out, both for
    the prediction and for the variance, are repeated.
    """
    old = unet.state_dict()
    weights = {"conv_in.weight": old["conv_in.weight"].repeat(1, 3, 1, 1) / 3}
    weights |= {name: old[name].repeat_interleave(3, dim=0) for name in ("conv_out.weight", "conv_out.bias")}
    return rebuild(unet, weights, in_channels=3, out_channels=len(weights["conv_out.bias"]))


def _build(unet: UNet2DModel, weights: Mapping[str, Tensor], **settings: Any) -> UNet2DModel:
    network = type(unet).from_config(unet.config, **settings)
    assert isinstance(network, UNet2DModel)
    network.load_state_dict(weights)
    return network
