"""A classifier on the downward half of a U-Net: it names the class of an image at noise level t. Guided Diffusion section 4 and appendix."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import DDPMScheduler, ModelMixin, UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from safetensors import SafetensorError
from torch import Tensor, nn

from diffusion_demo.errors import BadInput
from diffusion_demo.models.classifier_heads import POOLS, AttentionPool, spatial_head
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.openai.network import read_network_class
from diffusion_demo.models.unet import build_unet, zero_outputs

TRUNK = ("conv_in.", "time_embedding.", "down_blocks.", "mid_block.")
HEAD_CHANNELS = 64


class Classifier(ModelMixin, ConfigMixin):
    """classifier(xt, t) -> logits. trunk is the config of the UNet2DModel whose downward half and middle it takes.

    pool, one of POOLS: adaptive averages the middle's output over the image; attention, of heads of head_channels, holds for the
    trunk's sample_size alone; spatial and spatial_v2 average every block's output.
    """

    @register_to_config
    def __init__(
        self, *, trunk: dict, class_names: list[str], pool: str = "adaptive", head_channels: int = HEAD_CHANNELS
    ):
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"there is no pool {pool!r}; there are {', '.join(POOLS)}")
        unet = read_network_class(trunk)
        self.conv_in, self.time_proj, self.time_embedding = unet.conv_in, unet.time_proj, unet.time_embedding
        self.down_blocks, self.mid_block = unet.down_blocks, unet.mid_block
        zero_outputs(self)
        widths, classes = trunk["block_out_channels"], len(class_names)
        if pool.startswith("spatial"):
            blocks = (
                widths[0] + sum(trunk["layers_per_block"] * width for width in widths) + sum(widths[:-1]) + widths[-1]
            )
            self.head = spatial_head(blocks, classes, normalised=pool == "spatial_v2")
            return
        self.norm = nn.GroupNorm(trunk["norm_num_groups"], widths[-1])
        side = trunk["sample_size"] // 2 ** (len(widths) - 1) if pool == "attention" else 0
        self.head = (
            AttentionPool(widths[-1], side, head_channels, classes)
            if pool == "attention"
            else nn.Linear(widths[-1], classes)
        )

    def _outputs(self, xt: Tensor, t: Tensor) -> list[Tensor]:
        """Of the first convolution, of every block on the way down, and last of the middle."""
        time = self.time_embedding(self.time_proj(t).to(xt.dtype))
        hidden = self.conv_in(xt)
        outputs = [hidden]
        for block in self.down_blocks:
            hidden, passed = block(hidden_states=hidden, temb=time)
            outputs += passed
        return [*outputs, self.mid_block(hidden, time)]

    def _ending(self, xt: Tensor, t: Tensor) -> Tensor:
        return nn.functional.silu(self.norm(self._outputs(xt, t)[-1]))

    def features(self, xt: Tensor, t: Tensor) -> Tensor:
        """What the image is known by, of images xt float [N, C, H, W] at t [N]: float [N, D], averaged over the image."""
        if self.config.pool.startswith("spatial"):
            return torch.cat([output.mean(dim=(2, 3)) for output in self._outputs(xt, t)], dim=1)
        return self._ending(xt, t).mean(dim=(2, 3))

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        """Logits [N, classes] of images xt float [N, C, H, W] at t [N]."""
        return self.head(self._ending(xt, t) if self.config.pool == "attention" else self.features(xt, t))


def build_classifier(
    preset: str, image_size: int, channels: int, class_names: Sequence[str], dropout: float | None = None
) -> Classifier:
    """A freshly initialized classifier with the attention pool on the downward half of that preset's U-Net (unet.PRESETS).

    Raises BadInput for a size that the levels do not divide.
    """
    with torch.device("meta"):
        unet = build_unet(preset, image_size, channels, learns_variance=False, num_classes=0, dropout=dropout)
    return classifier_on_trunk(trunk_config(unet), class_names)


def classifier_on_trunk(trunk: dict, class_names: Sequence[str]) -> Classifier:
    """A freshly initialized classifier with the attention pool on that trunk, in heads of at most HEAD_CHANNELS."""
    head_channels = math.gcd(HEAD_CHANNELS, trunk["block_out_channels"][-1])
    return Classifier(trunk=trunk, class_names=list(class_names), pool="attention", head_channels=head_channels)


def trunk_config(unet: UNet2DModel) -> dict:
    """The settings of a U-Net from which a classifier builds its downward half."""
    return {
        name: value for name, value in unet.config.items() if not name.startswith("_") and name != "num_class_embeds"
    }


def copy_trunk(classifier: Classifier, unet: UNet2DModel) -> tuple[str, ...]:
    """Start a classifier from a diffusion model's downward half: every tensor of the same name and shape is copied.

    Returns the names of the trunk's tensors that had none, and stay as they are: none of them where the two networks are of one kind.
    """
    theirs, own = (
        unet.state_dict(),
        {name: tensor for name, tensor in classifier.state_dict().items() if name.startswith(TRUNK)},
    )
    fitting = {
        name: theirs[name] for name, tensor in own.items() if name in theirs and theirs[name].shape == tensor.shape
    }
    classifier.load_state_dict(fitting, strict=False)
    return tuple(sorted(own.keys() - fitting.keys()))


def save_classifier(folder: Path, classifier: Classifier) -> None:
    """Write config.json and the weights, as safetensors."""
    classifier.save_pretrained(folder, safe_serialization=True)


def save_classifier_checkpoint(
    folder: Path, classifier: Classifier, scheduler: DDPMScheduler, description: CheckpointMetadata, card: str
) -> None:
    """Write a whole folder, which must not exist yet: classifier, the scheduler of its noise, description, card. The caller renames it into place."""
    save_classifier(folder / "classifier", classifier)
    scheduler.save_pretrained(folder / "scheduler")
    description.save(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def load_classifier(folder: str | Path, device: torch.device | str = "cpu") -> Classifier:
    """The classifier in `folder`, which holds config.json, in float32 and eval mode. Raises BadInput with one sentence when it cannot be had."""
    options = {
        "use_safetensors": True,
        "local_files_only": True,
        "low_cpu_mem_usage": False,
        "output_loading_info": True,
    }
    try:
        classifier, info = Classifier.from_pretrained(folder, **options)
        if info["missing_keys"] or info["unexpected_keys"]:
            raise ValueError("diffusers would leave weights at random, or out")
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise BadInput(f"{folder} is no classifier, or a damaged one; copy it again, or train it again.") from error
    return classifier.to(device, memory_format=torch.channels_last).eval()
