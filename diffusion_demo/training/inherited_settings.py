"""Settings that fine-tuning takes over from its checkpoint."""

from typing import Any, cast

from diffusers import UNet2DModel

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.metadata import ORACLES, TASKS
from diffusion_demo.models.unet import check_image_size


def inherit(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with those of the checkpoint `init_from`: noise schedule, prediction and variance type.

    Image size and channels default to those of the checkpoint.

    Raises BadInput for a setting that contradicts the checkpoint, or that its network cannot be adapted to.
    """
    if settings["init_from"] in ORACLES:
        raise BadInput(f"{settings['init_from']} has no weights. Fine-tune a trained checkpoint.", "init_from")
    start = load_checkpoint(settings["init_from"])
    _check_adaptable(start, settings)
    inherited = {
        "num_train_timesteps": len(start.diffusion),
        "beta_schedule": start.beta_schedule,
        "prediction_type": start.diffusion.prediction_type,
        "variance_type": start.diffusion.variance_type,
    }
    for name, value in inherited.items():
        if settings.get(name, value) != value:
            flag = f"--{name.replace('_', '-')}"
            raise BadInput(f"The checkpoint has {name.replace('_', ' ')} {value}; leave out {flag}.", name)
    description = start.description
    return {"image_size": description.image_size, "channels": description.channels} | settings | inherited


def _check_adaptable(start: Checkpoint, settings: dict[str, Any]) -> None:
    """Raise BadInput unless the checkpoint's network can be adapted to the task, image size and channels."""
    task, source = settings.get("task", "diffusion"), start.description
    if (source.task, task) not in [*((same, same) for same in TASKS), ("diffusion", "classifier")]:
        raise BadInput(f"The checkpoint was trained for the task {source.task}, not {task}; use another.", "init_from")
    if "preset" in settings:
        raise BadInput("The checkpoint has its own network; leave out --preset.", "preset")
    if (image_size := settings.get("image_size", source.image_size)) != source.image_size:
        if task == "classifier":
            raise BadInput(
                f"A classifier keeps the image size of its checkpoint, {source.image_size}; leave out --image-size.",
                "image_size",
            )
        check_image_size(image_size, levels=len(cast(UNet2DModel, start.unet).config["block_out_channels"]))
    channels = settings.get("channels", source.channels)
    if task != "diffusion" and channels != source.channels:
        raise BadInput(f"The checkpoint works on {source.channels} channels; leave out --channels.", "channels")
    if (source.channels, channels) == (3, 1):
        raise BadInput(
            "This model generates color images, and grayscale images work as they are; keep 3 channels (color).",
            "channels",
        )
