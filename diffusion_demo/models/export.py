"""A checkpoint of ours -> a folder from which stock diffusers' DDPMPipeline samples the same."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from diffusers import UNet2DModel

from diffusion_demo.errors import BadInput
from diffusion_demo.models.adapt import TABLE, fold_class_into_time_bias
from diffusion_demo.models.checkpoint import Checkpoint, make_scheduler, save_checkpoint
from diffusion_demo.models.metadata import ORACLES
from diffusion_demo.models.model_card import model_card


def export(checkpoint: Checkpoint, name: str, out: Path, class_name: str | None = None) -> None:
    """Write a plain DDPMPipeline folder, for one class or (None) for none.

    The pipeline knows no labels, so that class's row moves into the bias of the time embedding, which is exact up to rounding. Raises BadInput
    for a class that there is not, for `out` that exists, and for a model that stock diffusers would misread.
    """
    unet, about = checkpoint.unet, checkpoint.description
    if name in ORACLES:
        raise BadInput(f"{name} is a formula without weights; export a trained checkpoint.")
    if type(unet) is not UNet2DModel:
        raise BadInput(
            f"Stock diffusers would misread the network of {name} (its heads or its time are not UNet2DModel's), so it is not exported."
        )
    if about.class_names:
        unet = fold_class_into_time_bias(unet, unet.state_dict()[TABLE][_row(checkpoint, class_name)])
    elif class_name is not None:
        raise BadInput(f"{name} has no classes; leave out --class.")
    if out.exists():
        raise BadInput(f"{out} is there already; choose another folder.")
    origin = (
        f"{name}, {f'its class {class_name}' if class_name else 'without its classes'}" if about.class_names else name
    )
    about = replace(about, class_names=(), titles={}, guidance=False, origin=origin)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        card = model_card(about, sum(p.numel() for p in unet.parameters()), None)
        save_checkpoint(
            partial / out.name, unet, make_scheduler(checkpoint.beta_schedule, checkpoint.diffusion), about, card
        )
        (partial / out.name).rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _row(checkpoint: Checkpoint, class_name: str | None) -> int:
    about = checkpoint.description
    if class_name in about.class_names:
        return about.class_names.index(class_name)
    if class_name is None and about.guidance:
        return about.null_class
    known = f"choose one of {', '.join(about.class_names[:20])}."
    raise BadInput(
        f"There is no class {class_name!r}: {known}"
        if class_name
        else f"This model was never trained without a class: give --class, and {known}"
    )
