"""The training settings as fields of the page. TrainConfig alone says which values are allowed."""

import math
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import ImageColor

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import FINE_TUNING, TrainConfig

DEFAULTS = {name: field.default for name, field in TrainConfig.model_fields.items()}
# Inherited from the checkpoint to fine-tune.
INHERITED = ("beta_schedule", "num_train_timesteps", "prediction_type", "variance_type")


class _Layout:
    """The fields laid out so far, by the name of their setting."""

    def __init__(self):
        self.fields: dict[str, Component] = {}

    def add(self, name: str, kind: type[Component], label: str, info: str | None = None, **options) -> None:
        default = DEFAULTS[name]
        value = default[0] if isinstance(default, tuple) else default
        common = {"interactive": True, "min_width": 130, "elem_id": f"setting-{name}"}
        self.fields[name] = kind(value=value, label=label, info=info, **common, **options)

    def choose(self, name: str, label: str, choices: list, info: str | None = None) -> None:
        self.add(name, gr.Dropdown, label, info, choices=choices)


def build() -> tuple[dict[str, Component], gr.Column]:
    """Lay out the fields. Return them by the name of their setting, and the column that only a new network shows."""
    layout = _Layout()
    layout.choose(
        "task",
        "Task",
        [("Generate images", "diffusion"), ("Classify noisy images", "classifier"), ("Upscale images 2x", "upsampler")],
        "A classifier guides another model's sampling; an upscaler enlarges that model's images.",
    )
    _image_fields(layout)
    _step_fields(layout)
    _loss_fields(layout)
    _memory_fields(layout)
    return layout.fields, _noise_fields(layout)


def _image_fields(layout: _Layout) -> None:
    gr.Markdown("Images", elem_classes="group")
    with gr.Row():
        layout.choose(
            "image_size", "Image size (pixels)", [16, 32, 64, 128, 256], "Twice the size takes about 4 times as long."
        )
        layout.choose("channels", "Color", [("Color", 3), ("Grayscale", 1)])
    with gr.Row():
        layout.choose("fit", "Non-square images", [("Center crop", "crop"), ("Pad", "pad"), ("Squash", "squash")])
        layout.choose(
            "class_from", "Classes from", [("Folders", "folder"), ("File names (cat_1.png -> cat)", "file_name")]
        )
    with gr.Row():
        layout.add("background", gr.ColorPicker, "Background")
        layout.add("flip", gr.Checkbox, "Random flips", "Mirrors half the images. Turn off for text.")
    with gr.Row():
        layout.add("drop_duplicates", gr.Checkbox, "Drop exact duplicates")
        layout.add("balance_classes", gr.Checkbox, "Balance classes", "Samples all classes equally often.")


def _step_fields(layout: _Layout) -> None:
    gr.Markdown("Steps", elem_classes="group")
    with gr.Row():
        layout.add("batch_size", gr.Number, "Batch size", "Images per step.", precision=0)
        layout.add("learning_rate", gr.Number, "Learning rate", "Lower it if the loss jumps.", step=1e-5)
    with gr.Row():
        layout.add("warmup_steps", gr.Number, "Warm-up steps", "The learning rate ramps up from 0.", precision=0)
        layout.add("ema_decays", gr.Number, "EMA decay", "Averages recent weights; closer to 1 is smoother.", step=1e-4)
    layout.choose(
        "lr_scheduler",
        "Learning-rate schedule",
        [
            ("Constant", "constant_with_warmup"),
            ("Cosine decay", "cosine"),
            ("Constant, then decay", "warmup_stable_decay"),
        ],
        "Decay finishes when the time is up. Choose Constant to continue training later.",
    )
    layout.add(
        "early_stopping_patience",
        gr.Number,
        "Early stopping patience",
        "Stops after this many evaluations without improvement. 0 = off.",
        precision=0,
    )
    with gr.Row():
        layout.add(
            "label_dropout",
            gr.Number,
            "Label dropout",
            "Share of images trained without a class. 0 disables guidance.",
            step=0.05,
        )
        layout.add("weight_decay", gr.Number, "Weight decay", "The papers use 0.", step=0.01)
    with gr.Row():
        layout.add("grad_clip", gr.Number, "Gradient clipping", "Maximum gradient norm.", step=0.1)
        layout.add("seed", gr.Number, "Seed", "Same seed, same run.", precision=0)


def _loss_fields(layout: _Layout) -> None:
    layout.add("small_noise", gr.Number, "Low-res noise", "Upscaler only: noise added to its input.", step=0.01)
    with gr.Row():
        layout.choose(
            "loss",
            "Loss",
            [("Hybrid", "hybrid"), ("Simple", "simple"), ("KL", "kl"), ("Rescaled KL", "rescaled_kl")],
        )
        layout.choose(
            "timestep_sampler",
            "Timestep sampling",
            [("Stratified", "stratified"), ("Uniform", "uniform"), ("Loss-aware", "loss_aware")],
            "How noise levels (t) are picked.",
        )
    layout.add(
        "snr_gamma", gr.Number, "Min-SNR gamma", "0 gives every noise level the same weight, as in DDPM.", step=0.5
    )


def _memory_fields(layout: _Layout) -> None:
    gr.Markdown("Memory and speed", elem_classes="group")
    with gr.Row():
        layout.add("accumulation", gr.Number, "Gradient accumulation", "Splits each batch to save memory.", precision=0)
        layout.choose("precision", "Precision", [("Automatic", "auto"), "fp32", "bf16"])
    layout.add("gradient_checkpointing", gr.Checkbox, "Gradient checkpointing", "Less memory, slower.")


def _noise_fields(layout: _Layout) -> gr.Column:
    with gr.Column(visible=False) as noise:
        gr.Markdown("Noise", elem_classes="group")
        with gr.Row():
            layout.choose(
                "beta_schedule",
                "Schedule",
                [
                    ("Cosine", "squaredcos_cap_v2"),
                    ("Linear", "linear"),
                    ("Quadratic", "scaled_linear"),
                    ("Sigmoid", "sigmoid"),
                ],
            )
            layout.add("num_train_timesteps", gr.Number, "Timesteps", precision=0)
        with gr.Row():
            layout.choose(
                "prediction_type",
                "Prediction",
                [("Noise (epsilon)", "epsilon"), ("Image (x_0)", "sample"), ("Velocity (v)", "v_prediction")],
            )
            layout.choose(
                "variance_type",
                "Variance",
                [("Learned", "learned_range"), ("Large (beta)", "fixed_large"), ("Small (beta~)", "fixed_small")],
            )
    return noise


def changed_settings(start: dict[str, Any], names: list[str], values: tuple) -> dict[str, Any]:
    """Return the settings that differ from their defaults. `start` holds a preset, or a checkpoint to fine-tune.

    Raises BadInput for a field that is empty.
    """
    settings = {}
    for name, value in zip(names, values, strict=True):
        if "init_from" in start and name in INHERITED:
            continue
        if value is None:
            raise BadInput(f"Fill in the {name.replace('_', ' ')}.", name)
        settings[name] = _as_setting(name, value)
    return {
        name: value
        for name, value in settings.items()
        if value != DEFAULTS[name] or ("init_from" in start and name in ("image_size", "channels", *FINE_TUNING))
    }


def _as_setting(name: str, value):
    if name == "background":
        return _hex(value)
    if name == "ema_decays":
        return (value,)
    return value


def _hex(color: str) -> str:
    """Return a color of the color picker as "#rrggbb". Other text is returned as it is, for TrainConfig to refuse."""
    text = str(color).strip()
    if text.startswith("rgb") and text.endswith(")"):
        try:
            parts = [float(part) for part in text[text.index("(") + 1 : -1].split(",")[:3]]
        except ValueError:
            return text
        text = f"rgb({', '.join(str(min(255, max(0, round(part)))) for part in parts if math.isfinite(part))})"
    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(text)[:3])
    except ValueError:
        return text
