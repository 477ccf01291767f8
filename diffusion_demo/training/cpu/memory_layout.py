"""What makes a network train faster on a CPU, and its weights no others."""

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from diffusion_demo.training.cpu.seeded_dropout import use_seeded_dropout

FEW = 64  # places that attend to each other: 8x8


def optimize_for_cpu(network: nn.Module) -> None:
    """Lay the network out for training on a CPU; in bf16 it is a quarter faster so. Dropout becomes the same whatever the thread.

    The backward passes of group normalization take contiguous tensors alone, and those of channels_last would be copied.
    """
    network.to(memory_format=torch.contiguous_format)
    use_seeded_dropout(network)
    for module in network.modules():
        if isinstance(module, Attention):
            module.set_processor(_PlainWhereSmall())


class _PlainWhereSmall:
    """Attention among few places in plain operations: torch's fused one goes back through 8x8 pixels in bf16 three times as slowly."""

    plain, fused = AttnProcessor(), AttnProcessor2_0()

    def __call__(
        self, attention: Attention, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None, temb=None
    ) -> Tensor:
        few = hidden_states.shape[2:].numel() <= FEW
        return (self.plain if few else self.fused)(
            attention, hidden_states, encoder_hidden_states, attention_mask, temb
        )
