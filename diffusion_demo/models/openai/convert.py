"""A network's file of improved-diffusion or guided-diffusion (OpenAI) -> a checkpoint folder of ours."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import make_scheduler, save_checkpoint
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
from diffusion_demo.models.openai.weights import fill, module_names, renamed


@dataclass(frozen=True)
class Imported:
    """What an import wrote, for telling: `network` is the class's name, its own where stock diffusers could not read it."""

    layout: Layout
    description: CheckpointMetadata
    network: str
    parameters: int


@dataclass(frozen=True, eq=False)
class _Found:
    """A network with its weights, what it is for, and how its folder is saved: save(folder, network, scheduler, description, card)."""

    network: nn.Module
    layout: Layout
    diffusion: Diffusion
    task: str
    image_size: int
    classes: int
    save: Callable


def import_network(file: Path, out: Path, told: ImportOptions, command: str = "") -> Imported:
    """Write the checkpoint folder `out`, which must not exist yet. Raises BadInput with one sentence for what cannot be imported."""
    if out.exists():
        raise BadInput(f"{out} exists already; give --out a new folder.")
    tensors = read_tensors(file)
    try:
        found = (_classifier if is_classifier(tensors) else _unet)(tensors, told)
    except BadInput as error:
        raise BadInput(f"{file.name} {error}", error.field) from error
    size, names, origin = (
        (found.image_size, found.layout.channels, len(found.diffusion)),
        told.names(found.classes),
        f"imported from {file.name}",
    )
    description = CheckpointMetadata(*size, names, command=command, origin=origin, task=found.task)
    network = found.network.eval()
    imported = Imported(found.layout, description, type(network).__name__, sum(p.numel() for p in network.parameters()))
    card = model_card(description, imported.parameters, network=imported.network)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as partial:
        folder = Path(partial) / "checkpoint"
        found.save(folder, network, make_scheduler(told.beta_schedule, found.diffusion), description, card)
        folder.rename(out)
    return imported


def _unet(tensors: Mapping[str, Tensor], told: ImportOptions) -> _Found:
    layout = read_layout(tensors)
    told.check(layout)
    diffusion = told.chain(layout.learns_variance)
    with torch.device("meta"):
        network = build_network(layout, told.heads, told.image_size, told.time_scale)
    fill(network, renamed(tensors, module_names(layout), told.heads, told.new_attention_order))
    return _Found(
        network,
        layout,
        diffusion,
        "upsampler" if layout.is_upsampler else "diffusion",
        told.image_size,
        layout.classes,
        save_checkpoint,
    )


def _classifier(tensors: Mapping[str, Tensor], told: ImportOptions) -> _Found:
    layout = read_classifier_layout(tensors, told.image_size, told.num_res_blocks)
    told.check(layout)
    diffusion, size = told.chain(learns_variance=False), layout.image_size or told.image_size
    with torch.device("meta"):
        network = build_openai_classifier(layout, told.heads, size, told.names(layout.classes), told.time_scale)
    fill(network, classifier_weights(tensors, layout, told.heads, told.new_attention_order))
    return _Found(network, layout.trunk, diffusion, "classifier", size, layout.classes, save_classifier_checkpoint)
