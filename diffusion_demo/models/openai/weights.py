"""Rename the tensors of an OpenAI U-Net to UNet2DModel's names.

i = level, j = block, k = level from the bottom, B = residual blocks per level:

    time_embed.0, .2                            time_embedding.linear_1, .linear_2
    label_emb                                   class_embedding
    input_blocks.0.0                            conv_in
    input_blocks.N.0, .1, N = i(B+1)+j+1        down_blocks.i.resnets.j, .attentions.j
    input_blocks.(i+1)(B+1).0, or its .op       down_blocks.i.downsamplers.0, or its .conv
    middle_block.0, .1, .2                      mid_block.resnets.0, .attentions.0, .resnets.1
    output_blocks.M.0, .1, M = k(B+1)+j         up_blocks.k.resnets.j, .attentions.j
    the same, last j: .1 or, after attention, .2; or its .conv    up_blocks.k.upsamplers.0, or its .conv
    out.0, .2                                   conv_norm_out, conv_out
    residual: in_layers.0, .2, emb_layers.1     norm1, conv1, time_emb_proj
              out_layers.0, .3, skip_connection norm2, conv2, conv_shortcut
    attention: norm, qkv, proj_out              group_norm, to_q and to_k and to_v, to_out.0

The 3C rows of qkv have one of two orders: q, k, v for each head in turn ("legacy": improved-diffusion, and the default
of guided-diffusion), or q of all heads, then k, then v ("new": guided-diffusion's use_new_attention_order).

As in layout.py, the messages of BadInput lack their subject, the name of the file.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from diffusion_demo.errors import BadInput
from diffusion_demo.models.openai.layout import Layout
from diffusion_demo.models.openai.network import Heads

RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
ATTENTION = {"norm": "group_norm", "qkv": "qkv", "proj_out": "to_out.0"}
ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def module_names(layout: Layout) -> dict[str, str]:
    """Return a map from OpenAI's name of every module with weights to UNet2DModel's.

    qkv keeps its name, because it becomes three modules.
    """
    names = dict(ENDS)
    for old, new, submodules in _block_names(layout):
        names |= {f"{old}.{a}": f"{new}.{b}" for a, b in submodules.items()} if submodules else {old: new}
    return names


def _block_names(layout: Layout) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield OpenAI's name of a block, UNet2DModel's, and the map between the names of its submodules."""
    per_level, lowest = layout.blocks + 1, len(layout.widths) - 1
    yield "middle_block.0", "mid_block.resnets.0", RESIDUAL
    yield "middle_block.1", "mid_block.attentions.0", ATTENTION
    yield "middle_block.2", "mid_block.resnets.1", RESIDUAL
    for i, attends in enumerate(layout.attention):
        for j in range(layout.blocks):
            yield from _block(f"input_blocks.{i * per_level + j + 1}", f"down_blocks.{i}", j, attends)
        if i < lowest:
            yield _sampling(f"input_blocks.{(i + 1) * per_level}.0", f"down_blocks.{i}.downsamplers.0", "op", layout)
    for k, attends in enumerate(reversed(layout.attention)):
        for j in range(per_level):
            yield from _block(f"output_blocks.{k * per_level + j}", f"up_blocks.{k}", j, attends)
        if k < lowest:
            old = f"output_blocks.{(k + 1) * per_level - 1}.{2 if attends else 1}"
            yield _sampling(old, f"up_blocks.{k}.upsamplers.0", "conv", layout)


def _block(old: str, new: str, j: int, attends: bool) -> Iterator[tuple[str, str, dict[str, str]]]:
    yield f"{old}.0", f"{new}.resnets.{j}", RESIDUAL
    if attends:
        yield f"{old}.1", f"{new}.attentions.{j}", ATTENTION


def _sampling(old: str, new: str, convolution: str, layout: Layout) -> tuple[str, str, dict[str, str]]:
    return (old, new, RESIDUAL) if layout.resblock_updown else (f"{old}.{convolution}", f"{new}.conv", {})


def rename_tensors(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], heads: Heads, new_order: bool
) -> dict[str, Tensor]:
    """Return the tensors in float32 under the module names that `names` maps theirs to, with qkv split in three.

    Raises BadInput for a tensor whose module is not in `names`, and for one that is not dense and floating-point.
    """
    weights = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if module not in names:
            raise BadInput(
                f"contains a tensor {name} that does not belong to this network. Save only the network's state_dict()."
            )
        if not tensor.is_floating_point() or tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise BadInput(
                f"stores {name} in an unsupported format ({tensor.dtype}, {tensor.layout}). "
                "Save it as a dense floating-point tensor."
            )
        new, tensor = names[module], tensor.float()
        if tensor.ndim == 3:  # a convolution of width 1 over the pixels; diffusers has a Linear
            tensor = tensor.squeeze(2)
        if not module.endswith(".qkv"):
            weights[f"{new}.{leaf}"] = tensor.contiguous()
            continue
        count = heads.of(tensor.shape[0] // 3, up=module.startswith("output_blocks"))
        for letter, part in zip("qkv", split_qkv(tensor, count, new_order), strict=True):
            weights[f"{new.removesuffix('qkv')}to_{letter}.{leaf}"] = part
    return weights


def split_qkv(rows: Tensor, heads: int, new_order: bool) -> list[Tensor]:
    """Split `rows`, [3C, ...] in the new or the legacy order, into q, k and v, each [C, ...] with its heads in turn.

    Raises BadInput if the rows are not a multiple of 3 times the number of heads.
    """
    if rows.shape[0] % (3 * heads):
        raise BadInput(
            f"has attention with {rows.shape[0]} rows of q, k and v, which do not fit {heads} heads. Check --num-heads."
        )
    by_head = rows.unflatten(0, (3, heads, -1)) if new_order else rows.unflatten(0, (heads, 3, -1)).transpose(0, 1)
    return [part.flatten(0, 1).clone() for part in by_head]


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Assign weights to a network, which may be on the meta device.

    Raises BadInput unless names and shapes match exactly and all values are finite.
    """
    expected = network.state_dict()
    if missing := sorted(expected.keys() - weights.keys()):
        raise BadInput(
            f"lacks the weights of {missing[0]} and of {len(missing) - 1} more tensors. Download the file again."
        )
    for name, tensor in weights.items():
        if name not in expected or expected[name].shape != tensor.shape:
            fits = f"shape {list(expected[name].shape)}" if name in expected else "no such tensor"
            raise BadInput(
                f"is inconsistent: {name} has shape {list(tensor.shape)}, expected {fits}. Download the file again."
            )
    if broken := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise BadInput(f"contains values in {broken[0]} that are not finite. Download the file again.")
    network.load_state_dict(weights, assign=True)
