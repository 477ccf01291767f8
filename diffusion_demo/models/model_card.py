"""The model card: the README.md inside a checkpoint folder."""

from diffusion_demo.models.metadata import CheckpointMetadata

# What a network of each task is called, the Hub's word for that, and what can be done with it.
KINDS = {
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
        "Enlarge what a diffusion model makes with it:\n\n    {command} --checkpoint MODEL --upsampler THIS_FOLDER --out images",
    ),
}
NAMED_CLASSES = 50  # more are counted


def model_card(
    description: CheckpointMetadata, parameters: int, training_loss: float | None = None, network: str = "UNet2DModel"
) -> str:
    """Markdown with the Hub's front matter: what the model is, how it was made, its final losses if it was trained here, how to use it.

    network is its class's name.
    """
    d = description
    kind, tag, use = KINDS[d.task]
    stock = network == "UNet2DModel"
    lines = [
        f"- Images: {d.image_size}x{d.image_size}, {'color' if d.channels == 3 else 'grayscale'}",
        *_classes(d),
        f"- Network: `{'diffusers.' if stock else ''}{network}`{'' if stock else ', which stock diffusers cannot open'}, "
        f"{parameters / 1e6:.2f} million parameters{'; these are the averaged (EMA) weights' if d.images_seen else ''}",
        *_training(d, training_loss),
        f"- Command: `{d.command}`",
    ]
    return f"""---
library_name: diffusers
pipeline_tag: {tag}
tags:
- diffusion
- ddpm
---

# {kind} of {(d.data or {}).get("source", "images")}

{chr(10).join(lines)}

{use.format(command="python -m diffusion_demo sample")}
"""


def _classes(d: CheckpointMetadata) -> list[str]:
    if not d.class_names:
        return []
    count, first, last = len(d.class_names), d.class_names[0], d.class_names[-1]
    names = ", ".join(d.class_names) if count <= NAMED_CLASSES else f"{count}, from {first} to {last}"
    return [f"- Classes: {names}{' (and a null class, so it can be guided)' if d.guidance else ''}"]


def _training(d: CheckpointMetadata, training_loss: float | None) -> list[str]:
    lines = [f"- {'Began with' if d.data else 'Origin'}: {d.origin}"] if d.origin else []
    if d.data:
        lines = [
            f"- Trained on {d.data.get('pictures', 0) - d.data.get('held_out', 0)} images, {d.data.get('held_out', 0)} more held out",
            f"- Images seen: {d.images_seen:,} (this run: {d.steps:,} steps)",
            *lines,
        ]
    if training_loss is not None:
        lines.append(f"- Final training loss (mean of the last hundred steps): {training_loss:.4f}")
    if d.held_out_loss is not None:
        lines.append(f"- Loss of the averaged weights on the held-out images: {d.held_out_loss:.4f}")
    return lines
