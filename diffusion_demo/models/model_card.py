"""Model cards: the README.md of a checkpoint folder."""

from diffusion_demo.models.metadata import CheckpointMetadata

# Per task: title, pipeline tag of the Hub, and usage.
TASK_TEXTS = {
    "diffusion": (
        "A diffusion model",
        "unconditional-image-generation",
        "Sample from it:\n\n    {command} --checkpoint THIS_FOLDER --out images",
    ),
    "classifier": (
        "A noisy classifier",
        "image-classification",
        "Guide a diffusion model of the same noise schedule with it:\n\n"
        "    {command} --checkpoint MODEL --classifier THIS_FOLDER --classifier-scale 1 --out images",
    ),
    "upsampler": (
        "An upsampler",
        "image-to-image",
        "Enlarge the samples of a diffusion model with it:\n\n"
        "    {command} --checkpoint MODEL --upsampler THIS_FOLDER --out images",
    ),
}
MAX_LISTED_CLASSES = 50


def model_card(
    metadata: CheckpointMetadata, parameters: int, training_loss: float | None = None, network: str = "UNet2DModel"
) -> str:
    """Return a model card in Markdown with the Hub's front matter: data, network, training, losses and usage.

    `parameters` is the number of parameters, `network` the name of the network's class.
    """
    title, tag, usage = TASK_TEXTS[metadata.task]
    source = (metadata.data or {}).get("source", "images")
    lines = [
        f"- Images: {metadata.image_size}x{metadata.image_size}, {'color' if metadata.channels == 3 else 'grayscale'}",
        *_class_lines(metadata),
        _network_line(metadata, parameters, network),
        *_training_lines(metadata, training_loss),
        f"- Command: `{metadata.command}`",
    ]
    return f"""---
library_name: diffusers
pipeline_tag: {tag}
tags:
- diffusion
- ddpm
---

# {title} of {source}

{chr(10).join(lines)}

{usage.format(command="python -m diffusion_demo sample")}
"""


def _class_lines(metadata: CheckpointMetadata) -> list[str]:
    if not metadata.class_names:
        return []
    count, first, last = len(metadata.class_names), metadata.class_names[0], metadata.class_names[-1]
    names = ", ".join(metadata.class_names) if count <= MAX_LISTED_CLASSES else f"{count}, from {first} to {last}"
    return [f"- Classes: {names}{' (and a null class, so it can be guided)' if metadata.guidance else ''}"]


def _network_line(metadata: CheckpointMetadata, parameters: int, network: str) -> str:
    kind = "`diffusers.UNet2DModel`" if network == "UNet2DModel" else f"`{network}`, which stock diffusers cannot open"
    average = "; these are the averaged (EMA) weights" if metadata.images_seen else ""
    return f"- Network: {kind}, {parameters / 1e6:.2f} million parameters{average}"


def _training_lines(metadata: CheckpointMetadata, training_loss: float | None) -> list[str]:
    lines = []
    if metadata.data:
        held_out = metadata.data.get("held_out", 0)
        lines += [
            f"- Trained on {metadata.data.get('images', 0) - held_out} images, {held_out} more held out",
            f"- Images seen: {metadata.images_seen:,} (this run: {metadata.steps:,} steps)",
        ]
    if metadata.origin:
        lines.append(f"- {'Initialized from' if metadata.data else 'Origin'}: {metadata.origin}")
    if training_loss is not None:
        lines.append(f"- Final training loss (mean of the last hundred steps): {training_loss:.4f}")
    if metadata.held_out_loss is not None:
        lines.append(f"- Loss of the averaged weights on the held-out images: {metadata.held_out_loss:.4f}")
    return lines
