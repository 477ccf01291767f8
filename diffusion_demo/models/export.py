"""Export a checkpoint as a folder from which the DDPMPipeline of stock diffusers draws the same samples."""

import os
from dataclasses import replace
from pathlib import Path

from diffusers import UNet2DModel

from diffusion_demo.errors import BadInput
from diffusion_demo.models.adapt import CLASS_EMBEDDING, fold_class_into_time_bias
from diffusion_demo.models.checkpoint import Checkpoint, make_scheduler, new_checkpoint_folder, save_checkpoint
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.models.model_card import model_card

TASK_TITLES = {"classifier": "a classifier", "upsampler": "an upsampler"}


def export(checkpoint: Checkpoint, name: str, out: Path, class_name: str | None = None) -> None:
    """Write the folder `out` with a DDPMPipeline of one class, or of the null class if `class_name` is None.

    DDPMPipeline passes no labels, so the embedding of that class is added to the bias of the time embedding, which is
    exact up to rounding. `name` is the checkpoint's display name. Raises BadInput for an unknown class, an `out` that
    exists, and a model that stock diffusers would misread.
    """
    unet, metadata = checkpoint.unet, checkpoint.description
    if name in ORACLES:
        raise BadInput(f"{name} is a formula without weights. Export a trained checkpoint.")
    if metadata.task != "diffusion":
        raise BadInput(
            f"{name} is {TASK_TITLES[metadata.task]}, which DDPMPipeline cannot sample from. Export another model."
        )
    if type(unet) is not UNet2DModel:
        raise BadInput(
            f"Stock diffusers would misread the network of {name}: its attention heads or time embedding differ from "
            "UNet2DModel's. Export another checkpoint."
        )
    origin = name
    if metadata.class_names:
        unet = fold_class_into_time_bias(unet, unet.state_dict()[CLASS_EMBEDDING][_class_row(checkpoint, class_name)])
        origin = f"{name}, {f'its class {class_name}' if class_name else 'without its classes'}"
    elif class_name is not None:
        raise BadInput(f"{name} has no classes. Remove --class.")
    if os.path.exists(out):
        raise BadInput(f"{out} already exists. Choose another folder.")
    metadata = replace(metadata, class_names=(), titles={}, guidance=False, origin=origin)
    card = model_card(metadata, sum(p.numel() for p in unet.parameters()), None)
    scheduler = make_scheduler(checkpoint.beta_schedule, checkpoint.diffusion, checkpoint.scheduler)
    with new_checkpoint_folder(out) as partial:
        save_checkpoint(partial, unet, scheduler, metadata, card)


def _class_row(checkpoint: Checkpoint, class_name: str | None) -> int:
    """Return the row of the class embedding for a class, or for the null class if `class_name` is None."""
    metadata = checkpoint.description
    if class_name in metadata.class_names:
        return metadata.class_names.index(class_name)
    if class_name is None and metadata.guidance and metadata.null_class is not None:
        return metadata.null_class
    choices = ", ".join(metadata.class_names[:20])
    if class_name:
        raise BadInput(f"Unknown class {class_name!r}. Choose one of {choices}.")
    raise BadInput(f"This model was not trained without classes. Set --class to one of {choices}.")
