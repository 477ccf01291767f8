"""Initial model of a run: a newly built network, or that of a checkpoint, adapted to the data."""

from dataclasses import replace
from pathlib import Path

from diffusers.models.unets.unet_2d import UNet2DModel

from diffusion_demo import data
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.models.adapt import (
    class_embedding_for,
    fold_class_into_time_bias,
    rebuild,
    with_class_embedding,
    with_rgb_channels,
    zero_embedding_table,
)
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.classifier import Classifier, build_classifier, classifier_on_trunk, copy_trunk, trunk_config
from diffusion_demo.models.metadata import CheckpointMetadata, checkpoint_name
from diffusion_demo.models.openai.presets import RELEASED, build_paper_network
from diffusion_demo.models.unet import build_unet
from diffusion_demo.paths import without_folders
from diffusion_demo.training.config import UPSCALE_FACTOR, TrainConfig

# (number of images, dropout) for fine-tuning a network without dropout on fewer training images; see docs/training.md.
FINE_TUNING_DROPOUT = ((100, 0.3), (10_000, 0.1))


def load_or_build(config: TrainConfig, latest: Path | None, report: data.Report, command: str) -> Checkpoint:
    """Return the model at the start of a call: that of `latest` or else of `config.init_from`, or else a new one.

    The model of `init_from` is adapted to the data; `description.origin` says how. `latest` is the latest checkpoint of
    the run itself. Raises BadInput when the model cannot be built, loaded or adapted.
    """
    # An upsampler is not conditioned on classes: its low-resolution input determines the content.
    names = () if config.task == "upsampler" else report.class_names
    if config.task == "classifier" and len(names) < 2:
        raise BadInput("A classifier needs images of two classes or more. Put each class in its own folder.")
    if latest is not None:
        start = _adapt(latest, config, names, origin=None)
    elif config.init_from is not None:
        start = _adapt(config.init_from, config, names, origin=checkpoint_name(config.init_from))
        if config.task == "diffusion" and config.dropout is None:
            start = _with_usual_dropout(start, sum(not entry.held_out for entry in report.entries))
    else:
        start = _build(config, names)
    metadata = replace(
        start.description,
        guidance=config.task == "diffusion" and bool(names) and config.label_dropout > 0,
        seed=config.seed,
        command=without_folders(command),
        data=report.summary(),
        fit=config.fit,
        background=config.background,
        class_from=config.class_from,
    )
    return replace(start, description=metadata)


def _with_usual_dropout(start: Checkpoint, num_images: int) -> Checkpoint:
    """Return the checkpoint with FINE_TUNING_DROPOUT for this number of training images, unless it has dropout."""
    unet = start.unet
    usual = next((dropout for limit, dropout in FINE_TUNING_DROPOUT if num_images < limit), 0.0)
    assert isinstance(unet, UNet2DModel)
    if unet.config["dropout"] or not usual:
        return start
    origin = f"{start.description.origin}; dropout of {usual:g}, because there are only {num_images:,} training images"
    return replace(start, unet=rebuild(unet, dropout=usual), description=replace(start.description, origin=origin))


def _adapt(folder: str | Path, config: TrainConfig, names: tuple[str, ...], origin: str | None) -> Checkpoint:
    adapt = adapt_classifier_to_data if config.task == "classifier" else adapt_to_data
    return adapt(load_checkpoint(folder), config, names, origin)


def adapt_to_data(
    source: Checkpoint, config: TrainConfig, names: tuple[str, ...], origin: str | None = None
) -> Checkpoint:
    """Return `source` with its network adapted to the image size and channels of `config` and to the classes `names`.

    With `origin`, the name of the source, the description lists the changes.
    """
    old, changes = source.description, []
    if old.task == "upsampler":
        _check_factor(old)
    unet, class_changes = _with_classes(source, names)
    if config.channels != old.channels:
        unet = with_rgb_channels(unet)
        changes.append("converted from grayscale to color")
    if config.image_size != old.image_size:
        unet = rebuild(unet, sample_size=config.image_size)
        changes.append(f"image size changed from {old.image_size} to {config.image_size} pixels")
    if config.dropout is not None:
        unet = rebuild(unet, dropout=config.dropout)
    metadata = replace(
        old,
        image_size=config.image_size,
        channels=config.channels,
        small_size=None if old.task != "upsampler" else config.image_size // UPSCALE_FACTOR,
        class_names=names,
        titles={name: title for name, title in old.titles.items() if name in names},
        origin=old.origin if origin is None else "; ".join([origin, *changes, *class_changes]),
    )
    return replace(source, unet=unet, description=metadata)


def _check_factor(upsampler: CheckpointMetadata) -> None:
    size, small_size = upsampler.image_size, upsampler.small_size
    if small_size is None:
        raise BadInput(
            f"The size of this upsampler's input images is unknown, and only {UPSCALE_FACTOR}x upsamplers can be "
            "trained. Import it again with --small-size, or use another one."
        )
    if UPSCALE_FACTOR * small_size != size:
        raise BadInput(
            f"The upsampler enlarges {size / small_size:g}x, but only {UPSCALE_FACTOR}x upsamplers can be trained. "
            "Use another one."
        )


def adapt_classifier_to_data(
    source: Checkpoint, config: TrainConfig, names: tuple[str, ...], origin: str | None = None
) -> Checkpoint:
    """Return a noisy classifier of the classes `names`.

    A classifier with the same classes keeps all its weights. Any other source, a U-Net included, passes on its trunk
    (the downward half and the middle) under a new head; the head of a classifier is of the kind that it had.
    """
    old, unet = source.description, source.unet
    is_classifier = old.task == "classifier"
    same_classes = is_classifier and names == old.class_names
    if same_classes and config.dropout is None:
        return replace(source, description=replace(old, origin=old.origin if origin is None else origin))
    assert isinstance(unet, UNet2DModel | Classifier)
    trunk = dict(unet.config["trunk"]) if isinstance(unet, Classifier) else trunk_config(unet)
    if config.dropout is not None:
        trunk["dropout"] = config.dropout
    if isinstance(unet, Classifier):
        pool, head_channels = unet.config["pool"], unet.config["head_channels"]
        classifier = Classifier(trunk=trunk, class_names=list(names), pool=pool, head_channels=head_channels)
    else:
        classifier = classifier_on_trunk(trunk, names)
    copy_trunk(classifier, unet)  # pyright: ignore[reportArgumentType]  (it takes any network with such a trunk)
    if same_classes:
        classifier.load_state_dict(unet.state_dict())
    if not is_classifier:
        origin = f"the downward half of {origin}"
    metadata = replace(
        old,
        class_names=names,
        images_seen=old.images_seen if is_classifier else 0,
        task="classifier",
        guidance=False,
        origin=old.origin if origin is None else origin,
    )
    return replace(source, unet=classifier, description=metadata)


def _with_classes(source: Checkpoint, names: tuple[str, ...]) -> tuple[UNet2DModel, list[str]]:
    """Return the network of `source` with an embedding of the classes `names`, and the changes as text.

    A class that the source knows keeps its row; a new one starts as the null class or, if that was not trained, as the
    mean of the rows. An embedding for a source without classes starts at zero, so that the outputs do not change.
    Without `names` only the null class remains, folded into the time embedding.
    """
    unet, old = source.unet, source.description
    assert isinstance(unet, UNet2DModel)
    if not old.class_names:
        if not names:
            return unet, []
        table = zero_embedding_table(unet, len(names))
        return with_class_embedding(unet, table), ["class embedding initialized to zero"]
    table = class_embedding_for(unet, old.class_names, names, old.guidance)
    if not names:
        return fold_class_into_time_bias(unet, table[-1]), ["only the null class kept, as the images have no classes"]
    if names != old.class_names or not old.guidance:
        unet = with_class_embedding(unet, table)
    new_names = [name for name in names if name not in old.class_names]
    return unet, [f"new classes: {', '.join(new_names)}"] if new_names else []


def _build(config: TrainConfig, names: tuple[str, ...]) -> Checkpoint:
    try:
        betas = named_betas(config.beta_schedule, config.num_train_timesteps)
        diffusion = Diffusion(betas, config.prediction_type, config.variance_type)
    except ValueError as error:
        raise BadInput(f"This noise schedule is not valid: {error}.") from error
    size, channels = config.image_size, config.channels
    metadata = CheckpointMetadata(size, channels, len(diffusion), names, task=config.task)
    if config.task == "classifier":
        classifier = build_classifier(config.preset, size, channels, names, config.dropout)
        return Checkpoint(classifier, diffusion, metadata, config.beta_schedule)
    is_upsampler, learns_variance = config.task == "upsampler", diffusion.learns_variance
    if config.preset in RELEASED:
        dropout = config.dropout or 0.0
        unet = build_paper_network(
            config.preset, size, channels, learns_variance, len(names), dropout, is_upsampler=is_upsampler
        )
    else:
        unet = build_unet(
            config.preset, size, channels, learns_variance, len(names), config.dropout, is_upsampler=is_upsampler
        )
    if is_upsampler:
        metadata = replace(metadata, small_size=size // UPSCALE_FACTOR)
    return Checkpoint(unet, diffusion, metadata, config.beta_schedule)
