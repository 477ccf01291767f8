"""Noisy classifier on the downward half of a U-Net: p(y | x_t, t). Guided Diffusion section 4 and appendix."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, ModelMixin, UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

from diffusion_demo.errors import BadInput
from diffusion_demo.models.classifier_heads import POOLS, AttentionPool, spatial_means_head
from diffusion_demo.models.metadata import CLASSIFIER, CheckpointMetadata
from diffusion_demo.models.openai.network import network_from_config
from diffusion_demo.models.unet import LOAD_ERRORS, build_unet, forget_path, load_from_folder, zero_outputs
from diffusion_demo.models.weight_files import fetch_weights
from diffusion_demo.untrusted_files import check_readable

TRUNK = ("conv_in.", "time_embedding.", "down_blocks.", "mid_block.")
HEAD_CHANNELS = 64


class Classifier(ModelMixin, ConfigMixin):
    """Noisy classifier: classifier(xt, t) -> logits.

    trunk          config of the UNet2DModel whose downward half and middle block it uses
    class_names    by class index
    pool           one of POOLS: "adaptive" averages the output of the middle block over the image; "attention" pools it
                   with attention and is fixed to the trunk's sample_size; "spatial" and "spatial_v2" average the
                   outputs of all blocks
    head_channels  channels per head of the attention pool
    """

    @register_to_config
    def __init__(
        self,
        *,
        trunk: dict[str, Any],
        class_names: list[str],
        pool: str = "adaptive",
        head_channels: int = HEAD_CHANNELS,
    ):
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"unknown pool {pool!r}; choose from {', '.join(POOLS)}")
        unet = network_from_config(trunk)
        self.conv_in: nn.Module = unet.conv_in
        self.time_proj: nn.Module = unet.time_proj
        self.time_embedding: nn.Module = unet.time_embedding
        self.down_blocks: nn.ModuleList = unet.down_blocks
        self.mid_block: nn.Module | None = unet.mid_block
        self.norm: nn.GroupNorm
        self.head: nn.Module
        zero_outputs(self)
        widths, classes = trunk["block_out_channels"], len(class_names)
        if pool.startswith("spatial"):
            layers = sum(trunk["layers_per_block"] * width for width in widths)
            features = widths[0] + layers + sum(widths[:-1]) + widths[-1]
            self.head = spatial_means_head(features, classes, normalized=pool == "spatial_v2")
            return
        self.norm = nn.GroupNorm(trunk["norm_num_groups"], widths[-1])
        if pool == "attention":
            side = trunk["sample_size"] // 2 ** (len(widths) - 1)
            self.head = AttentionPool(widths[-1], side, head_channels, classes)
        else:
            self.head = nn.Linear(widths[-1], classes)

    def _block_outputs(self, xt: Tensor, t: Tensor) -> list[Tensor]:
        """Return the outputs of the first convolution, of every layer on the way down, and of the middle block."""
        assert self.mid_block is not None
        time = self.time_embedding(self.time_proj(t).to(xt.dtype))
        hidden = self.conv_in(xt)
        outputs = [hidden]
        for block in self.down_blocks:
            hidden, block_outputs = block(hidden_states=hidden, temb=time)
            outputs += block_outputs
        return [*outputs, self.mid_block(hidden, time)]

    def _last_activation(self, xt: Tensor, t: Tensor) -> Tensor:
        return nn.functional.silu(self.norm(self._block_outputs(xt, t)[-1]))

    def features(self, xt: Tensor, t: Tensor) -> Tensor:
        """Return features float [N, D], averaged over each image, for xt float [N, C, H, W] and t [N]."""
        if self.config["pool"].startswith("spatial"):
            return torch.cat([output.mean(dim=(2, 3)) for output in self._block_outputs(xt, t)], dim=1)
        return self._last_activation(xt, t).mean(dim=(2, 3))

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        """Return logits float [N, classes] for xt float [N, C, H, W] and t [N]."""
        if self.config["pool"] == "attention":
            return self.head(self._last_activation(xt, t))
        return self.head(self.features(xt, t))


def build_classifier(
    preset: str, image_size: int, channels: int, class_names: Sequence[str], dropout: float | None = None
) -> Classifier:
    """Return a freshly initialized classifier with attention pooling on the downward half of a preset's U-Net.

    `preset` is one of unet.PRESETS. Raises BadInput if the levels do not divide `image_size`.
    """
    with torch.device("meta"):
        unet = build_unet(preset, image_size, channels, learns_variance=False, num_classes=0, dropout=dropout)
    return classifier_on_trunk(trunk_config(unet), class_names)


def classifier_on_trunk(trunk: dict[str, Any], class_names: Sequence[str]) -> Classifier:
    """Return a freshly initialized classifier with attention pooling, in heads of at most HEAD_CHANNELS channels."""
    head_channels = math.gcd(HEAD_CHANNELS, trunk["block_out_channels"][-1])
    return Classifier(trunk=trunk, class_names=list(class_names), pool="attention", head_channels=head_channels)


def trunk_config(unet: UNet2DModel) -> dict[str, Any]:
    """Return the part of a U-Net's config from which a classifier builds its trunk."""
    config = unet.config.items()
    return {name: value for name, value in config if not name.startswith("_") and name != "num_class_embeds"}


def copy_trunk(classifier: Classifier, unet: UNet2DModel) -> tuple[str, ...]:
    """Initialize a classifier from a diffusion model: copy every trunk tensor of the same name and shape.

    Returns the names of the trunk tensors that were not copied; none if the two networks have the same config.
    """
    source = unet.state_dict()
    trunk = {name: tensor for name, tensor in classifier.state_dict().items() if name.startswith(TRUNK)}
    matching = {
        name: source[name] for name, tensor in trunk.items() if name in source and source[name].shape == tensor.shape
    }
    classifier.load_state_dict(matching, strict=False)
    return tuple(sorted(trunk.keys() - matching.keys()))


def save_classifier(folder: Path, classifier: Classifier) -> None:
    """Write config.json and the weights as safetensors."""
    classifier.save_pretrained(folder, safe_serialization=True)
    forget_path(folder)


def save_classifier_checkpoint(
    folder: Path,
    classifier: Classifier,
    scheduler: DDPMScheduler | DDIMScheduler,
    metadata: CheckpointMetadata,
    card: str,
) -> None:
    """Write a classifier checkpoint with its noise schedule, metadata and model card.

    `folder` must not exist; the caller renames it into place.
    """
    save_classifier(folder / CLASSIFIER, classifier)
    scheduler.save_pretrained(folder / "scheduler")
    metadata.save(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def load_classifier(folder: str | Path, device: torch.device | str = "cpu") -> Classifier:
    """Load the classifier in `folder`, the one with its config.json, in float32 and eval mode.

    Raises BadInput if it is missing or damaged.
    """
    folder = Path(folder)
    try:
        weights = fetch_weights(folder, folder, folder)
        classifier = load_from_folder(Classifier, folder, weights)
    except LOAD_ERRORS as error:
        check_readable(folder)
        raise BadInput(
            f"{folder} is not a classifier or is damaged. Copy the classifier again, or train it again."
        ) from error
    # diffusers wraps `to` without annotations, which hides its parameters from pyright
    return classifier.to(device, memory_format=torch.channels_last).eval()  # pyright: ignore[reportArgumentType]
