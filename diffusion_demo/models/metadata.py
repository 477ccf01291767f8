"""What a checkpoint folder says of itself (diffusion_demo.json), readable without loading torch."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "diffusion_demo.json"
NO_CHECKPOINT = (
    "{} is no checkpoint: it should hold model_index.json, unet and scheduler as diffusers writes them, and "
    + FILE
    + " if it is ours."
)
# What a checkpoint folder can hold so that stock diffusers reads it the same way (its "learned" is a variance, ours a log variance).
PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")
VARIANCE_TYPES = ("fixed_small", "fixed_large", "learned_range")
# What a network is for: images from noise, the class of a noisy image (models/classifier.py), or an image from a smaller one.
TASKS = ("diffusion", "classifier", "upsampler")
CLASSIFIER = (
    "classifier"  # the folder of a classifier: in a checkpoint of its own, or in that of the model that it guides
)
# Perfect models in closed form (models/oracle.py): their names stand where a folder can, and what a person reads for them.
ORACLES = {
    "oracle-memory": "perfect: knows the sixteen images by heart",
    "oracle-mixture": "perfect: knows them, give or take a little",
    "oracle-gaussian": "perfect: knows their mean and covariance",
    "oracle-pixels": "perfect: knows every pixel on its own",
}


@dataclass(frozen=True)
class CheckpointMetadata:
    """image_size in pixels; class_names in the order of their indices (empty: no classes); titles: plain words for
    class names that need them; guidance: was the null class trained; origin: what training went on from, and how that was made to fit;
    held_out_loss: of these weights on the images that were held out, where there were any; task: one of TASKS; small_size: of the images that
    an upsampler enlarges, where that is known."""

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
    data: dict | None = None
    task: str = "diffusion"
    small_size: int | None = None

    @property
    def null_class(self) -> int | None:
        """The index that stands for "no class": the last one, after the named ones."""
        return len(self.class_names) if self.class_names else None

    def title(self, class_name: str) -> str:
        """What a person reads for a class."""
        return self.titles.get(class_name, class_name)

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def has_classifier(folder: Path) -> bool:
    """Does a classifier that can guide it lie beside the model?"""
    return (folder / CLASSIFIER / "config.json").is_file()


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoint folders directly inside `folder`, by name."""
    return sorted(path.parent for path in folder.glob(f"[!.]*/{FILE}"))


def checkpoint_name(folder: str | Path) -> str:
    """What a checkpoint is called in images and lists: its folder's name, with the run's before it where it lies in one; or its name on the Hub."""
    if not Path(folder).is_absolute() and not Path(folder).is_dir():
        return Path(folder).as_posix()
    folder = Path(folder).resolve()
    run = folder.parent.parent
    return f"{run.name}/{folder.name}" if (run / "config.json").is_file() else folder.name
