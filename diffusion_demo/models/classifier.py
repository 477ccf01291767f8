"""A classifier on the downward half of a U-Net: it names the class of a picture at noise level t. Guided Diffusion section 4 and appendix."""

import torch
from diffusers import ModelMixin, UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

from diffusion_demo.models.unet import zero_outputs


class Classifier(ModelMixin, ConfigMixin):
    """classifier(xt, t) -> logits. trunk is the config of the UNet2DModel whose downward half and middle it takes."""

    @register_to_config
    def __init__(self, trunk: dict, class_names: list[str]):
        super().__init__()
        unet = UNet2DModel(**trunk)
        self.conv_in, self.time_proj, self.time_embedding = unet.conv_in, unet.time_proj, unet.time_embedding
        self.down_blocks, self.mid_block = unet.down_blocks, unet.mid_block
        zero_outputs(self)
        width = trunk["block_out_channels"][-1]
        self.norm = nn.GroupNorm(trunk["norm_num_groups"], width)
        self.head = nn.Linear(width, len(class_names))

    def features(self, xt: Tensor, t: Tensor) -> Tensor:
        """What the head sees of pictures xt float [N, C, H, W] at t [N]: float [N, D], averaged over the picture."""
        time = self.time_embedding(self.time_proj(t).to(xt.dtype))
        hidden = self.conv_in(xt)
        for block in self.down_blocks:
            hidden, _ = block(hidden_states=hidden, temb=time)
        hidden = self.mid_block(hidden, time)
        return nn.functional.silu(self.norm(hidden)).mean(dim=(2, 3))

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        """Logits [N, classes] of pictures xt float [N, C, H, W] at t [N]."""
        return self.head(self.features(xt, t))


def load_classifier(folder, device: torch.device | str = "cpu") -> Classifier:
    """The classifier in `folder`, in float32 and eval mode."""
    classifier = Classifier.from_pretrained(folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False)
    return classifier.to(device, memory_format=torch.channels_last).eval()
