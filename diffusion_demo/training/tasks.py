"""What a network is trained for: what it loses on a batch, what it shows of itself, and how it is saved."""

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_demo.data import ImageTensors
from diffusion_demo.diffusion.losses import training_losses
from diffusion_demo.images import contact_sheet, to_float, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, make_scheduler, save_checkpoint
from diffusion_demo.models.classifier import save_classifier_checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.model_card import model_card
from diffusion_demo.models.unet import concat_low_res
from diffusion_demo.sampling.generate import last_step, sample, sample_batch
from diffusion_demo.sampling.request import Request, image_specs
from diffusion_demo.training.batches import Batch
from diffusion_demo.training.config import UPSCALE_FACTOR, TrainConfig
from diffusion_demo.training.cpu.seeded_dropout import generator

PREVIEW = Request(num_images=16, seed=0)


class Denoising:
    """Images from noise: DDPM, Improved DDPM."""

    def __init__(self, start: Checkpoint, config: TrainConfig):
        self.start, self.config = start, config
        self.null_class = start.description.null_class

    def losses(self, network: nn.Module, batch: Batch) -> Tensor:
        """The loss of each image, its squared error and its bound term (NaN where there is none): float32 [N, 3]."""
        chain = self.start.diffusion
        xt = chain.q_sample(batch.x0, batch.t, batch.eps)
        condition = {"class_labels": batch.labels} if self.start.description.class_names else {}
        output = network(
            self._seen(xt, batch, network), chain.model_timesteps(batch.t, xt), **condition, return_dict=False
        )[0]
        found = training_losses(
            chain, output.float(), batch.x0, xt, batch.t, batch.eps, self.config.loss, self.config.snr_gamma
        )
        return torch.stack(
            [found.loss, found.mse, torch.full_like(found.mse, torch.nan) if found.vlb is None else found.vlb], dim=1
        )

    def _seen(self, xt: Tensor, batch: Batch, network: nn.Module) -> Tensor:
        return xt

    def preview(self, network: nn.Module, precision: str, dataset: ImageTensors) -> Image.Image | None:
        """Images of the same seeds every time."""
        description, steps = self.start.description, min(PREVIEW.steps, len(self.start.diffusion))
        request = replace(
            PREVIEW, guidance_scale=2.0 if description.guidance else 1.0, precision=precision, steps=steps
        )
        return contact_sheet(to_uint8(last_step(sample(replace(self.start, unet=network), request)).xt))

    def save(
        self, folder: Path, network: nn.Module, description: CheckpointMetadata, training_loss: float | None
    ) -> None:
        """Write the checkpoint's folder, which must not exist yet."""
        card = model_card(
            description, sum(p.numel() for p in network.parameters()), training_loss, type(network).__name__
        )
        save_checkpoint(
            folder, network, make_scheduler(self.start.beta_schedule, self.start.diffusion), description, card
        )


class Upsampling(Denoising):
    """Images from noise and an image of half their size: Improved DDPM section 5, Guided Diffusion section 5.2.

    The small ones are means of 2x2 pixels, as in the papers' code; small_noise adds noise to them in training, of up to that standard deviation,
    so that the network learns not to trust what another one made (Ho et al. 2021, Cascaded Diffusion Models, section 4).
    """

    def _seen(self, xt: Tensor, batch: Batch, network: nn.Module) -> Tensor:
        small = F.avg_pool2d(batch.x0, UPSCALE_FACTOR)
        if network.training and self.config.small_noise:
            drawn = generator(-1)
            deviation = self.config.small_noise * torch.rand(len(small), 1, 1, 1, generator=drawn)
            small = small + (deviation * torch.randn(small.shape, generator=drawn)).to(small.device)
        return concat_low_res(xt, small)

    def preview(self, network: nn.Module, precision: str, dataset: ImageTensors) -> Image.Image | None:
        """Small images, what is made of them, and what they were made from; the same ones every time."""
        real = dataset.images[:12]
        small = F.avg_pool2d(to_float(real), UPSCALE_FACTOR)
        checkpoint = replace(self.start, unet=network)
        request = Request(
            num_images=len(real), steps=min(PREVIEW.steps, len(self.start.diffusion)), precision=precision
        )
        made = to_uint8(
            last_step(sample_batch(checkpoint, request, image_specs(request, self.start.description), small)).xt
        )
        shown = torch.stack([to_uint8(F.interpolate(small, made.shape[-2:], mode="nearest")), made, real], dim=1)
        return contact_sheet(shown.flatten(0, 1), columns=6)


class Classifying:
    """The class of a noisy image: Guided Diffusion section 4 and appendix H. Its error is 1 where the answer is wrong, else 0."""

    null_class = None

    def __init__(self, start: Checkpoint, config: TrainConfig):
        self.start = start

    def losses(self, network: nn.Module, batch: Batch) -> Tensor:
        """The cross-entropy of each image, whether it was named wrongly, and NaN: float32 [N, 3]. An image without a class counts as 0."""
        chain = self.start.diffusion
        xt = chain.q_sample(batch.x0, batch.t, batch.eps)
        logits = network(xt, chain.model_timesteps(batch.t, xt)).float()
        unnamed = self.start.description.null_class
        loss = F.cross_entropy(logits, batch.labels, ignore_index=unnamed, reduction="none")
        wrong = (logits.argmax(1) != batch.labels) & (batch.labels != unnamed)
        return torch.stack([loss, wrong.to(loss), torch.full_like(loss, torch.nan)], dim=1)

    def preview(self, network: nn.Module, precision: str, dataset: ImageTensors) -> Image.Image | None:
        """Nothing: a classifier makes no images."""
        return None

    def save(
        self, folder: Path, network: nn.Module, description: CheckpointMetadata, training_loss: float | None
    ) -> None:
        """Write the checkpoint's folder, which must not exist yet."""
        card = model_card(
            description, sum(p.numel() for p in network.parameters()), training_loss, type(network).__name__
        )
        save_classifier_checkpoint(
            folder, network, make_scheduler(self.start.beta_schedule, self.start.diffusion), description, card
        )


def make_task(start: Checkpoint, config: TrainConfig) -> Denoising | Classifying:
    """The config's task on what the run starts from."""
    return {"diffusion": Denoising, "upsampler": Upsampling, "classifier": Classifying}[config.task](start, config)
