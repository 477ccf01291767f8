"""What to expect of the previews of a run, and when."""

from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.status import Status
from diffusion_demo.ui.duration import duration
from diffusion_demo.ui.train.budget import IMAGES_NEEDED

COPY_SHARE = 0.25  # smallest share of copies in a preview that gives a warning
IMPROVES_UNTIL = 10  # times the images needed; a run that ended sooner is advised to continue
MIN_STEPS = 20  # before the speed is known: the first steps are slower
COPIES = (
    "The model is starting to copy training images ({share:.0f} % of the latest preview). Compare them below. More "
    "images, random flips or dropout help; longer training does not."
)


def images_needed(is_new: bool) -> int:
    """Return how many images training has to see before its previews show something."""
    return IMAGES_NEEDED["new" if is_new else "fine-tuned"]


def images_trained(status: Status, config: TrainConfig) -> int:
    """Return the training images that a run has seen itself, without those of the model that it started from."""
    return status.step * config.batch_size


def expectation(status: Status, config: TrainConfig) -> str:
    """Return what to expect of the previews at this point of a run; an empty text when no hint is needed."""
    if status.task == "classifier" or not status.step:
        return ""
    share = next((preview.get("copies") for preview in reversed(status.previews)), None)
    if share is not None and share >= COPY_SHARE:
        return COPIES.format(share=100 * share)
    needed, seen = images_needed(config.init_from is None), images_trained(status, config)
    if seen >= needed:
        improves = status.state != "running" and seen < IMPROVES_UNTIL * needed
        return "More training makes the images clearer. Press Continue training." if improves else ""
    is_new = config.init_from is None
    subject = "noise, then blurred colors," if is_new else "images like those of the initial model"
    if status.state != "running":
        return (
            f"This run has seen {seen:,} images. Previews begin to resemble your images after about {needed:,}. "
            "Continue training to see more."
        )
    speed = status.images_per_second if status.step >= MIN_STEPS else None
    seconds = (needed - seen) / speed if speed else None
    ends_before = seconds is not None and status.seconds_left is not None and seconds > status.seconds_left
    wait = f", in about {duration(seconds)}" if seconds is not None and not ends_before else ""
    end = " This run ends before that; continue it afterwards." if ends_before else ""
    resemble = f"Previews begin to resemble your images after about {needed:,} training images{wait}."
    return f"Expect {subject} at first. {resemble}{end}"
