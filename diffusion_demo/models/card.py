"""The model card: the README.md inside a checkpoint folder."""

from diffusion_demo.models.description import Description


def model_card(description: Description, parameters: int, training_loss: float | None) -> str:
    """Markdown with the Hub's front matter: what the model is, how it was made, its final losses, how to sample from it."""
    d = description
    data = d.data or {}
    classes = f"- Classes: {', '.join(d.class_names)}{' (and a null class, so it can be guided)' if d.guidance else ''}\n" if d.class_names else ""
    origin = f"- Began with: {d.origin}\n" if d.origin else ""
    loss = f"- Final training loss (mean of the last hundred steps): {training_loss:.4f}\n" if training_loss is not None else ""
    loss += f"- Loss of the averaged weights on the held-out pictures: {d.held_out_loss:.4f}\n" if d.held_out_loss is not None else ""
    return f"""---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags:
- diffusion
- ddpm
---

# A diffusion model of {data.get("source", "pictures")}

- Pictures: {d.image_size}x{d.image_size}, {"colour" if d.channels == 3 else "greyscale"}
{classes}- Network: `diffusers.UNet2DModel`, {parameters / 1e6:.2f} million parameters; these are the averaged (EMA) weights
- Trained on {data.get("pictures", 0) - data.get("held_out", 0)} pictures, {data.get("held_out", 0)} more held out
- Images seen: {d.images_seen:,} (this run: {d.steps:,} steps)
{origin}{loss}- Command: `{d.command}`

Sample from it:

    python -m diffusion_demo sample --checkpoint THIS_FOLDER --out pictures
"""
