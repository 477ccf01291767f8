"""Metadata of a checkpoint folder (diffusion_demo.json), readable without importing torch."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = "diffusion_demo.json"
NOT_A_CHECKPOINT = (
    "{} is not a checkpoint. Choose a folder with model_index.json, unet and scheduler, as diffusers writes them, "
    f"or with {FILE}."
)
# The types for which stock diffusers reads a checkpoint as we do. Its "learned" is a variance, ours a log variance.
PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")
VARIANCE_TYPES = ("fixed_small", "fixed_large", "learned_range")
# What a network computes: images from noise, the class of a noisy image, or an enlarged image.
TASKS = ("diffusion", "classifier", "upsampler")
# Name of the subfolder of a classifier, in its own checkpoint or in that of the model that it guides.
CLASSIFIER = "classifier"
# Keys in files of release 0.1.0, which describe images, with their names today.
RENAMED_KEYS = {"pictures": "images", "greyscale": "grayscale"}
# Optimal denoisers in closed form (models/oracle_models.py): names that are accepted as checkpoints, and their titles.
ORACLES = {
    "oracle-memory": "Exact: memorizes 16 example images",
    "oracle-mixture": "Exact: those 16 images, slightly blurred",
    "oracle-gaussian": "Exact: Gaussian fit to those images",
    "oracle-pixels": "Exact: independent pixels",
}


@dataclass(frozen=True)
class CheckpointMetadata:
    """Metadata of a checkpoint.

    image_size           side of the square images, in pixels
    class_names          by class index; empty for a model without classes
    titles               display names, for class names that need one
    guidance             whether the null class was trained, so that classifier-free guidance works
    images_seen          number of training images, repetitions included
    origin               the checkpoint that the training started from, and how it was adapted
    held_out_loss        loss of these weights on the held-out images, if there were any
    task                 one of TASKS
    small_size           side of an upsampler's input images in pixels, if known
    fit, background      how the training images became squares, as in data.ImageTransform
    class_from           where their classes came from, as in data.scan
    """

    image_size: int
    channels: int
    num_train_timesteps: int
    class_names: tuple[str, ...] = ()
    titles: dict[str, str] = field(default_factory=dict)
    guidance: bool = False
    images_seen: int = 0
    steps: int = 0
    seed: int = 0
    command: str = ""
    origin: str = ""
    held_out_loss: float | None = None
    data: dict[str, Any] | None = None
    task: str = "diffusion"
    small_size: int | None = None
    fit: str = "crop"
    background: str = "#ffffff"
    class_from: str = "folder"

    @property
    def null_class(self) -> int | None:
        """The index of the null class, which follows the named ones; None for a model without classes."""
        return len(self.class_names) if self.class_names else None

    @property
    def classes_of_data(self) -> frozenset[str]:
        """The classes of the training images, which an upsampler knows as well, although it has no classes."""
        classes = (self.data or {}).get("classes")
        return frozenset(classes if isinstance(classes, dict) else self.class_names)

    def title(self, class_name: str) -> str:
        """Return the display name of a class."""
        return self.titles.get(class_name, class_name)

    def save(self, folder: Path) -> None:
        """Write the metadata file into `folder`."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def with_current_keys(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a file of this release or of 0.1.0 says about its images, with the keys of this release."""
    return {RENAMED_KEYS.get(key, key): value for key, value in content.items()}


def has_classifier(folder: Path) -> bool:
    """Return whether the checkpoint folder contains a classifier."""
    return os.path.isfile(folder / CLASSIFIER / "config.json")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoint folders directly inside `folder`, sorted by name, without hidden ones."""
    return sorted(path.parent for path in folder.glob(f"[!.]*/{FILE}"))


def checkpoint_name(folder: str | Path) -> str:
    """Return a checkpoint's display name: the name of its folder, RUN/NAME inside a run, or its name on the Hub."""
    if not Path(folder).is_absolute() and not os.path.isdir(folder):
        return Path(folder).as_posix()
    folder = Path(folder).resolve()
    run = folder.parent.parent
    return f"{run.name}/{folder.name}" if os.path.isfile(run / "config.json") else folder.name
