"""The training settings as fields of the page. TrainConfig alone says which values are allowed."""

import math

import gradio as gr
from gradio.components import FormComponent
from PIL import ImageColor

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig

DEFAULTS = {name: field.default for name, field in TrainConfig.model_fields.items()}
FINE_TUNING = {
    "learning_rate": 3e-4,
    "warmup_steps": 50,
}  # in ten minutes on two cores a hundred photographs turned emoji into horses
BROUGHT = (
    "beta_schedule",
    "num_train_timesteps",
    "prediction_type",
    "variance_type",
)  # by a model that training goes on from


def build() -> tuple[dict[str, FormComponent], gr.Column]:
    """Lay out the fields. Return them by the name of their setting, and the column that only a new network shows."""
    made: dict[str, FormComponent] = {}

    def add(name: str, kind: type[FormComponent], label: str, info: str = "", **options) -> None:
        default = DEFAULTS[name]
        value = default[0] if isinstance(default, tuple) else default
        made[name] = kind(
            value=value,
            label=label,
            info=info or None,
            interactive=True,
            min_width=130,
            elem_id=f"setting-{name}",
            **options,
        )

    def choose(name: str, label: str, options: list, info: str = "") -> None:
        add(name, gr.Dropdown, label, info, choices=options)

    def pair():
        return gr.Row()

    choose(
        "task",
        "It learns to",
        [("make images", "diffusion"), ("name noisy images", "classifier"), ("double the size of images", "upsampler")],
    )
    made["task"].info = "Naming guides another model by class; doubling follows one."
    gr.Markdown("Images", elem_classes="group")
    with pair():
        choose("image_size", "Size in pixels", [16, 32, 64, 128, 256])
        choose("channels", "Color", [("color", 3), ("grayscale", 1)])
    with pair():
        choose("fit", "Not square?", [("crop", "crop"), ("add margins", "pad"), ("squash", "squash")])
        choose("class_from", "Classes from", [("folders", "folder"), ("cat_1.png", "file_name")])
    with pair():
        add("background", gr.ColorPicker, "Background")
        add("flip", gr.Checkbox, "Mirror half", "Off for letters.")
    gr.Markdown("Steps", elem_classes="group")
    with pair():
        add("batch_size", gr.Number, "Batch size", precision=0)
        add("learning_rate", gr.Number, "Learning rate", step=1e-5)
    with pair():
        add("warmup_steps", gr.Number, "Warm-up steps", precision=0)
        add("ema_decays", gr.Number, "EMA decay", step=1e-4)
    choose(
        "lr_scheduler",
        "Learning rate schedule",
        [
            ("Constant", "constant_with_warmup"),
            ("Cosine decay", "cosine"),
            ("Constant, then decay", "warmup_stable_decay"),
        ],
        "A decay ends with the training time and gives better images at the end. Constant can be continued.",
    )
    with pair():
        add("label_dropout", gr.Number, "Labels dropped", step=0.05)
        add("weight_decay", gr.Number, "Weight decay", step=0.01)
    with pair():
        add("grad_clip", gr.Number, "Largest gradient", step=0.1)
        add("seed", gr.Number, "Seed", precision=0)
    add("small_noise", gr.Number, "Noise on the small images", "Where it doubles their size.", step=0.01)
    with pair():
        choose("loss", "Loss", ["hybrid", "simple", "kl", "rescaled_kl"])
        choose(
            "timestep_sampler",
            "t is drawn",
            [("evenly", "stratified"), ("at random", "uniform"), ("by loss", "loss_aware")],
        )
    gr.Markdown("Memory and speed", elem_classes="group")
    with pair():
        add("accumulation", gr.Number, "Parts of a batch", precision=0)
        choose("precision", "Precision", ["auto", "fp32", "bf16"])
    add("gradient_checkpointing", gr.Checkbox, "Recompute rather than remember", "Less memory, but slower.")
    with gr.Column(visible=False) as noise:
        gr.Markdown("Noise", elem_classes="group")
        with pair():
            choose(
                "beta_schedule",
                "Schedule",
                [("cosine", "squaredcos_cap_v2"), "linear", ("quadratic", "scaled_linear"), "sigmoid"],
            )
            add("num_train_timesteps", gr.Number, "Timesteps", precision=0)
        with pair():
            choose("prediction_type", "Predicts", [("noise", "epsilon"), ("picture", "sample"), ("v", "v_prediction")])
            choose(
                "variance_type",
                "Variance",
                [("learned", "learned_range"), ("beta", "fixed_large"), ("beta~", "fixed_small")],
            )
    return made, noise


def chosen(start: dict, names: list[str], values: tuple) -> dict:
    """Return the settings that differ from their defaults. `start` holds a preset, or a checkpoint to fine-tune.

    Raises BadInput for a field that is empty.
    """
    settings = {}
    for name, value in zip(names, values, strict=True):
        if "init_from" in start and name in BROUGHT:
            continue
        if value is None:
            raise BadInput(f"Fill in the {name.replace('_', ' ')}.", name)
        settings[name] = _as_setting(name, value)
    return {
        name: value
        for name, value in settings.items()
        if value != DEFAULTS[name] or ("init_from" in start and name in ("image_size", "channels"))
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
