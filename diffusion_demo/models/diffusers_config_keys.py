"""Every key of the configs of diffusers: honored, kept for export only, or refused by name.

Keys that are not listed here are ignored, as by diffusers.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import PREDICTION_TYPES, VARIANCE_TYPES
from diffusion_demo.untrusted_files import check_readable, read_json

HONORED, KEPT = "honored", "kept"
MAX_TIMESTEPS = 100_000  # absurd values must not allocate gigabytes
MAX_SIDE = 2048
MAX_CLASSES = 100_000
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")


@dataclass(frozen=True)
class Key:
    """One key of a config.

    default    value if the key is absent, that of diffusers
    treatment  HONORED, or KEPT if it changes neither the network nor the chain: sampling ignores it, export writes it
    accepts    whether a value is supported; every other value is refused
    values     the supported values in words, for the error and the docs
    note       what the key does here, for the docs
    """

    default: Any
    treatment: str
    accepts: Callable[[Any], bool]
    values: str
    note: str = ""


def _one_of(*choices: Any) -> Callable[[Any], bool]:
    return lambda value: any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices)


def _whole(low: int, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low < value <= high


def _anything(value: Any) -> bool:
    return True


def _betas(value: Any) -> bool:
    return value is None or (isinstance(value, list) and bool(value) and all(map(_number(0, 1), value)))


_BOOL, _BETA = _one_of(True, False), _number(0, 1)
SCHEDULER_KEYS = {
    "num_train_timesteps": Key(1000, HONORED, _whole(1, MAX_TIMESTEPS), f"1 to {MAX_TIMESTEPS}"),
    "beta_start": Key(0.0001, HONORED, _BETA, "above 0, at most 1"),
    "beta_end": Key(0.02, HONORED, _BETA, "above 0, at most 1"),
    "beta_schedule": Key("linear", HONORED, _one_of(*BETA_SCHEDULES), ", ".join(BETA_SCHEDULES)),
    "trained_betas": Key(None, HONORED, _betas, "null, or num_train_timesteps numbers above 0, at most 1"),
    "variance_type": Key(
        "fixed_small",
        HONORED,
        _one_of(*VARIANCE_TYPES, "fixed_small_log"),
        ", ".join((*VARIANCE_TYPES, "fixed_small_log")),
        "fixed_small_log is another name for fixed_small; a DDIMScheduler without this key has fixed_small",
    ),
    "prediction_type": Key("epsilon", HONORED, _one_of(*PREDICTION_TYPES), ", ".join(PREDICTION_TYPES)),
    "predict_epsilon": Key(
        None,
        HONORED,
        _one_of(None, True, False),
        "true, false",
        "before diffusers 0.8: false means prediction_type sample",
    ),
    "clip_sample": Key(True, HONORED, _BOOL, "true, false", "whether the predicted x0 is clipped"),
    "clip_sample_range": Key(1.0, HONORED, _number(0), "above 0", "bound of the predicted x0"),
    "thresholding": Key(False, HONORED, _one_of(False), "false", "dynamic thresholding is not in the papers"),
    "dynamic_thresholding_ratio": Key(0.995, KEPT, _anything, "any", "used only with thresholding"),
    "sample_max_value": Key(1.0, KEPT, _anything, "any", "used only with thresholding"),
    "rescale_betas_zero_snr": Key(
        False, HONORED, _BOOL, "true, false", "true with prediction_type epsilon is refused: its last step divides by 0"
    ),
    "timestep_spacing": Key("leading", KEPT, _anything, "any", "the steps are those of `--steps`"),
    "steps_offset": Key(0, KEPT, _anything, "any", "the steps are those of `--steps`"),
    "set_alpha_to_one": Key(
        True, HONORED, _one_of(True), "true", "of DDIMScheduler; with false, t = 0 is the last noise level"
    ),
}

_BLOCKS = "those of diffusers without cross-attention"
NETWORK_KEYS = {
    "sample_size": Key(None, HONORED, _anything, f"1 to {MAX_SIDE}, or a pair of equal sides"),
    "in_channels": Key(3, HONORED, _anything, "1 or 3"),
    "out_channels": Key(3, HONORED, _anything, "in_channels, or twice as many for learned_range"),
    "center_input_sample": Key(False, HONORED, _anything, "any"),
    "time_embedding_type": Key(
        "positional",
        HONORED,
        _one_of("positional", "learned"),
        "positional, learned",
        "fourier takes noise levels, not timesteps",
    ),
    "time_embedding_dim": Key(None, HONORED, _anything, "any"),
    "freq_shift": Key(0, HONORED, _anything, "any"),
    "flip_sin_to_cos": Key(True, HONORED, _anything, "any"),
    "down_block_types": Key(
        ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"), HONORED, _anything, _BLOCKS
    ),
    "mid_block_type": Key("UNetMidBlock2D", HONORED, _anything, "UNetMidBlock2D, null"),
    "up_block_types": Key(
        ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"), HONORED, _anything, _BLOCKS
    ),
    "block_out_channels": Key((224, 448, 672, 896), HONORED, _anything, "those of the weights"),
    "layers_per_block": Key(2, HONORED, _anything, "that of the weights"),
    "mid_block_scale_factor": Key(1, HONORED, _anything, "any"),
    "downsample_padding": Key(1, HONORED, _anything, "any"),
    "downsample_type": Key("conv", HONORED, _anything, "any"),
    "upsample_type": Key("conv", HONORED, _anything, "any"),
    "dropout": Key(0.0, HONORED, _anything, "any", "used only in training"),
    "act_fn": Key("silu", HONORED, _anything, "any"),
    "attention_head_dim": Key(8, HONORED, _anything, "any"),
    "norm_num_groups": Key(32, HONORED, _anything, "any"),
    "attn_norm_num_groups": Key(None, HONORED, _anything, "any"),
    "norm_eps": Key(1e-5, HONORED, _anything, "any"),
    "resnet_time_scale_shift": Key("default", HONORED, _anything, "any"),
    "add_attention": Key(True, HONORED, _anything, "any"),
    "class_embed_type": Key(
        None, HONORED, _one_of(None), "null", "timestep and identity take inputs other than a class index"
    ),
    "num_class_embeds": Key(
        None,
        HONORED,
        lambda value: value is None or _whole(1, MAX_CLASSES)(value),
        f"null, or that of the weights, at most {MAX_CLASSES}",
        "one class per row",
    ),
    "num_train_timesteps": Key(
        None, HONORED, _anything, "any", "rows of a learned time embedding, at least those of the scheduler"
    ),
}


def read_config(file: Path) -> dict[str, Any]:
    """Return the contents of a JSON file, or an empty dict if the file does not exist. Raises BadInput."""
    if not os.path.isfile(file):
        return {}
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        check_readable(file)
        raise BadInput(f"Cannot read {file} ({error}). Copy the checkpoint again.") from error


def normalized_scheduler_config(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a scheduler's config with diffusers' defaults for absent keys and today's names for old ones.

    Raises BadInput, in which `name` identifies the model, for the first value that cannot be reproduced.
    """
    config = dict(config)
    if config.get("trained_betas") is not None:  # these take the place of the named schedule, which may be any
        keys = {key: entry for key, entry in SCHEDULER_KEYS.items() if key != "beta_schedule"}
    else:
        keys = SCHEDULER_KEYS
    check_keys(config, keys, name, "scheduler_config.json")
    if config.pop("predict_epsilon", None) is False and config.setdefault("prediction_type", "sample") != "sample":
        raise BadInput(
            f"{name} has predict_epsilon false and prediction_type {config['prediction_type']} in its "
            "scheduler_config.json. Remove the one that is wrong."
        )
    if config.get("variance_type") == "fixed_small_log":
        config["variance_type"] = "fixed_small"
    settings = {key: entry.default for key, entry in SCHEDULER_KEYS.items() if key != "predict_epsilon"} | config
    steps, betas = settings["num_train_timesteps"], settings["trained_betas"]
    if betas is not None and len(betas) != steps:
        raise BadInput(
            f"{name} has num_train_timesteps {steps} but {len(betas)} trained_betas in its scheduler_config.json. "
            "Set them to the same number."
        )
    if settings["rescale_betas_zero_snr"] and settings["prediction_type"] == "epsilon":
        raise BadInput(
            f"{name} has rescale_betas_zero_snr with prediction_type epsilon, which cannot be sampled from pure noise. "
            "Use a model with prediction_type v_prediction."
        )
    return settings


def check_keys(config: Mapping[str, Any], keys: Mapping[str, Key], name: str, file: str) -> None:
    """Raise BadInput, in which `name` identifies the model, for the first value in `config` that is not supported."""
    for key, entry in keys.items():
        if key in config and not entry.accepts(value := config[key]):
            shown = value if isinstance(value, str) else json.dumps(value, default=str)
            shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
            raise BadInput(f"{name} has {key} {shown} in its {file}, which is not supported. Use {entry.values}.")


def kept_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the class name and the KEPT keys of a scheduler's settings, which an export writes unchanged."""
    kept = [key for key, entry in SCHEDULER_KEYS.items() if entry.treatment == KEPT]
    return {key: settings[key] for key in ("_class_name", *kept) if key in settings}


def markdown_table(keys: Mapping[str, Key]) -> str:
    """Return the keys as a Markdown table for the docs."""
    rows = ["| key | treatment | values read (others are refused) | note |", "|---|---|---|---|"]
    rows += [f"| `{key}` | {e.treatment} | {e.values} | {e.note} |" for key, e in keys.items()]
    return "\n".join(rows)
