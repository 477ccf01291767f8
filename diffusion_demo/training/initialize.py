"""What a run begins with: a fresh network, or a checkpoint's made to fit the data."""

from dataclasses import replace
from pathlib import Path

from diffusers import UNet2DModel

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
    zero_class_embedding,
)
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint
from diffusion_demo.models.classifier import build_classifier, classifier_on_trunk, copy_trunk, trunk_config
from diffusion_demo.models.metadata import CheckpointMetadata, checkpoint_name
from diffusion_demo.models.openai.presets import RELEASED, build_paper_network
from diffusion_demo.models.unet import build_unet
from diffusion_demo.training.config import UPSCALE_FACTOR, TrainConfig


def load_or_build(config: TrainConfig, latest: Path | None, report: data.Report, command: str) -> Checkpoint:
    """The network, its chain and its description at the start of a call: the run's `latest` checkpoint's, else init_from's, else fresh ones.

    What init_from brings is made to fit, and the description's `origin` tells how. Raises BadInput for a start that cannot be had.
    """
    names = () if config.task == "upsampler" else report.class_names  # its small images tell an upsampler enough
    if config.task == "classifier" and len(names) < 2:
        raise BadInput("A classifier needs images of two classes or more: put them into a folder each.")
    source = latest if latest is not None else config.init_from
    if source is None:
        start = _fresh(config, names)
    else:
        origin = None if latest is not None else checkpoint_name(config.init_from)
        fit = adapt_classifier_to_data if config.task == "classifier" else adapt_to_data
        start = fit(load_checkpoint(source), config, names, origin)
    about = replace(
        start.description,
        guidance=config.task == "diffusion" and bool(names) and config.label_dropout > 0,
        seed=config.seed,
        command=command,
        data=report.summary(),
    )
    return replace(start, description=about)


def adapt_to_data(
    source: Checkpoint, config: TrainConfig, names: tuple[str, ...], origin: str | None = None
) -> Checkpoint:
    """The source with its network made to fit images of the config's size and channels, in the classes `names`.

    Told what the source is called, the description tells what was changed.
    """
    old, changes = source.description, []
    unet, class_changes = _with_classes(source, names)
    if config.channels != old.channels:
        unet = with_rgb_channels(unet)
        changes.append("from grayscale to color")
    if config.image_size != old.image_size:
        unet = rebuild(unet, sample_size=config.image_size)
        changes.append(f"from {old.image_size} to {config.image_size} pixels")
    if config.dropout is not None:
        unet = rebuild(unet, dropout=config.dropout)
    description = replace(
        old,
        image_size=config.image_size,
        channels=config.channels,
        small_size=None if old.task != "upsampler" else config.image_size // UPSCALE_FACTOR,
        class_names=names,
        titles={name: title for name, title in old.titles.items() if name in names},
        origin=old.origin if origin is None else "; ".join([origin, *changes, *class_changes]),
    )
    return replace(source, unet=unet, description=description)


def adapt_classifier_to_data(
    source: Checkpoint, config: TrainConfig, names: tuple[str, ...], origin: str | None = None
) -> Checkpoint:
    """A classifier of the classes `names`: the source's own, or one that begins with the downward half of the source's network."""
    old, trained = source.description, source.description.task == "classifier"
    if trained and names == old.class_names and config.dropout is None:
        return replace(source, description=replace(old, origin=old.origin if origin is None else origin))
    trunk = (source.unet.config.trunk if trained else trunk_config(source.unet)) | (
        {} if config.dropout is None else {"dropout": config.dropout}
    )
    classifier = classifier_on_trunk(trunk, names)
    copy_trunk(classifier, source.unet)
    if trained and names == old.class_names:
        classifier.load_state_dict(source.unet.state_dict())
    seen, origin = (old.images_seen, origin) if trained else (0, f"the downward half of {origin}")
    about = replace(
        old,
        class_names=names,
        images_seen=seen,
        task="classifier",
        guidance=False,
        origin=old.origin if origin is None else origin,
    )
    return replace(source, unet=classifier, description=about)


def _with_classes(source: Checkpoint, names: tuple[str, ...]) -> tuple[UNet2DModel, list[str]]:
    """The source's network with a table for the classes `names`, and what was changed, in words.

    A class of the same name keeps its row, any other starts as the null class; one that was never trained is made from the mean of the rows.
    A source without classes gets a table of zeros, and so at first answers as before. Without `names` the null class is all that is left.
    """
    unet, old = source.unet, source.description
    if not old.class_names:
        return (
            (
                with_class_embedding(unet, zero_class_embedding(unet, len(names))),
                ["its table of classes started at zero"],
            )
            if names
            else (unet, [])
        )
    table = class_embedding_for(unet, old.class_names, names, old.guidance)
    if not names:
        return fold_class_into_time_bias(unet, table[-1]), [
            "of its classes only the null class, because the images had none"
        ]
    if names != old.class_names or not old.guidance:
        unet = with_class_embedding(unet, table)
    new = [name for name in names if name not in old.class_names]
    return unet, [f"new to it: {', '.join(new)}"] if new else []


def _fresh(config: TrainConfig, names: tuple[str, ...]) -> Checkpoint:
    try:
        betas = named_betas(config.beta_schedule, config.num_train_timesteps)
        diffusion = Diffusion(betas, config.prediction_type, config.variance_type)
    except ValueError as error:
        raise BadInput(f"This noise schedule cannot be used: {error}.") from error
    description = CheckpointMetadata(config.image_size, config.channels, len(diffusion), names, task=config.task)
    if config.task == "classifier":
        network = build_classifier(config.preset, config.image_size, config.channels, names, config.dropout)
        return Checkpoint(network, diffusion, description, config.beta_schedule)
    is_upsampler, size, channels = config.task == "upsampler", config.image_size, config.channels
    if config.preset in RELEASED:
        unet = build_paper_network(
            config.preset, size, channels, diffusion.learns_variance, len(names), config.dropout or 0.0, is_upsampler
        )
    else:
        unet = build_unet(
            config.preset, size, channels, diffusion.learns_variance, len(names), config.dropout, is_upsampler
        )
    if is_upsampler:
        description = replace(description, small_size=config.image_size // UPSCALE_FACTOR)
    return Checkpoint(unet, diffusion, description, config.beta_schedule)
