"""Convert an OpenAI network (improved-diffusion, guided-diffusion) to a checkpoint folder."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import make_scheduler, new_checkpoint_folder, save_checkpoint
from diffusion_demo.models.classifier import save_classifier_checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.model_card import model_card
from diffusion_demo.models.openai.classifier_layout import (
    build_openai_classifier,
    classifier_weights,
    is_classifier,
    read_classifier_layout,
)
from diffusion_demo.models.openai.file import read_tensors
from diffusion_demo.models.openai.layout import Layout, read_layout
from diffusion_demo.models.openai.network import build_network
from diffusion_demo.models.openai.options import ImportOptions
from diffusion_demo.models.openai.weights import load_weights, module_names, rename_tensors
from diffusion_demo.paths import without_folders


@dataclass(frozen=True)
class ImportResult:
    """What an import wrote; `network` is the name of the network's class, `parameters` their number."""

    layout: Layout
    description: CheckpointMetadata
    network: str
    parameters: int


@dataclass(frozen=True, eq=False)
class _Conversion:
    """A network with its weights, and the function that saves its checkpoint folder."""

    network: nn.Module
    layout: Layout
    diffusion: Diffusion
    task: str
    image_size: int
    classes: int
    save: Callable[[Path, Any, DDPMScheduler | DDIMScheduler, CheckpointMetadata, str], None]


def import_network(file: Path, out: Path, options: ImportOptions, command: str = "") -> ImportResult:
    """Convert an OpenAI file to the checkpoint folder `out`, which must not exist.

    `command` is recorded in the metadata. Raises BadInput if the file cannot be imported, or `out` cannot be written.
    """
    if os.path.exists(out):
        raise BadInput(f"{out} already exists. Choose another folder for --out.")
    tensors = read_tensors(file, options.weights)
    try:
        converted = (_convert_classifier if is_classifier(tensors) else _convert_unet)(tensors, options)
    except BadInput as error:
        raise BadInput(f"{file.name} {error}", error.field) from error
    metadata = CheckpointMetadata(
        converted.image_size,
        converted.layout.channels,
        len(converted.diffusion),
        options.class_names_or_indices(converted.classes),
        command=without_folders(command),
        origin=f"imported from {file.name}",
        task=converted.task,
        small_size=options.small_size_or_released(converted.layout) if converted.task == "upsampler" else None,
    )
    network = converted.network.eval()
    parameters = sum(p.numel() for p in network.parameters())
    result = ImportResult(converted.layout, metadata, type(network).__name__, parameters)
    card = model_card(metadata, parameters, network=result.network)
    assert options.beta_schedule is not None
    scheduler = make_scheduler(options.beta_schedule, converted.diffusion)
    with new_checkpoint_folder(out) as partial:
        converted.save(partial, network, scheduler, metadata, card)
    return result


def _convert_unet(tensors: Mapping[str, Tensor], options: ImportOptions) -> _Conversion:
    layout = read_layout(tensors)
    options.check(layout)
    diffusion, size = options.make_diffusion(layout.learns_variance), options.image_size
    assert size is not None
    with torch.device("meta"):
        network = build_network(layout, options.heads, size, options.time_scale)
    weights = rename_tensors(tensors, module_names(layout), options.heads, options.new_attention_order)
    load_weights(network, weights)
    task = "upsampler" if layout.is_upsampler else "diffusion"
    return _Conversion(network, layout, diffusion, task, size, layout.classes, save_checkpoint)


def _convert_classifier(tensors: Mapping[str, Tensor], options: ImportOptions) -> _Conversion:
    layout = read_classifier_layout(tensors, options.image_size, options.num_res_blocks)
    options.check(layout)
    diffusion, size = options.make_diffusion(learns_variance=False), layout.image_size or options.image_size
    assert size is not None
    names = options.class_names_or_indices(layout.classes)
    with torch.device("meta"):
        network = build_openai_classifier(layout, options.heads, size, names, options.time_scale)
    load_weights(network, classifier_weights(tensors, layout, options.heads, options.new_attention_order))
    return _Conversion(network, layout.trunk, diffusion, "classifier", size, layout.classes, save_classifier_checkpoint)
