"""A network's weights in a network that fits other data: other classes, color in place of gray, another size or dropout."""

import torch
from diffusers import UNet2DModel
from torch import Tensor

TABLE = "class_embedding.weight"


def rebuild(unet: UNet2DModel, weights: dict[str, Tensor] | None = None, **settings) -> UNet2DModel:
    """The same network with other settings, and with some of its tensors in another's place."""
    fresh = type(unet).from_config(unet.config, **settings)
    fresh.load_state_dict(unet.state_dict() | (weights or {}))
    return fresh


def with_class_embedding(unet: UNet2DModel, table: Tensor) -> UNet2DModel:
    """The network with another table of classes, float [rows, D]: the last row is the null class's."""
    return rebuild(unet, {TABLE: table}, num_class_embeds=len(table))


def zero_class_embedding(unet: UNet2DModel, num_classes: int) -> Tensor:
    """A first table for a network without classes, [num_classes + 1, D]: of zeros, so that to every class it answers what it answered before."""
    return torch.zeros(num_classes + 1, unet.time_embedding.linear_2.out_features)


def class_embedding_for(unet: UNet2DModel, old: tuple[str, ...], new: tuple[str, ...], null_is_trained: bool) -> Tensor:
    """The table of the classes `new`, [len(new) + 1, D], from that of the classes `old`.

    The null row is kept or, where it was never trained, made from the mean of the others; a class of the same name keeps its row, any other
    starts as the null class.
    """
    table = unet.state_dict()[TABLE]
    null = table[len(old)] if null_is_trained else table[: len(old)].mean(0)
    at = {name: i for i, name in enumerate(old)}
    return torch.stack([table[at[name]] if name in at else null for name in new] + [null])


def fold_class_into_time_bias(unet: UNet2DModel, row: Tensor) -> UNet2DModel:
    """A network without classes that answers what this one answers to the class of that row, [D]: the row moves into the embedding of time."""
    weights = unet.state_dict()
    del weights[TABLE]
    weights["time_embedding.linear_2.bias"] = weights["time_embedding.linear_2.bias"] + row
    fresh = type(unet).from_config(unet.config, num_class_embeds=None)
    fresh.load_state_dict(weights)
    return fresh


def with_null_class(unet: UNet2DModel, names: tuple[str, ...]) -> UNet2DModel:
    """A network whose table holds no more rows than `names` gets the null class's after them: the mean of the others."""
    if unet.config.num_class_embeds != len(names) or not names:
        return unet
    return with_class_embedding(unet, class_embedding_for(unet, names, names, null_is_trained=False))


def with_rgb_channels(unet: UNet2DModel) -> UNet2DModel:
    """A grayscale network on three channels: shown three that are equal, it answers in each what it answered before.

    conv_in reads their mean (its weights repeated, divided by 3); conv_out's rows are repeated, those of the prediction and of the variance.
    """
    old = unet.state_dict()
    weights = {"conv_in.weight": old["conv_in.weight"].repeat(1, 3, 1, 1) / 3}
    weights |= {name: old[name].repeat_interleave(3, dim=0) for name in ("conv_out.weight", "conv_out.bias")}
    return rebuild(unet, weights, in_channels=3, out_channels=len(weights["conv_out.bias"]))
