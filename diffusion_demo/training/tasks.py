"""Training tasks: loss, preview and checkpoint format."""

from dataclasses import replace
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_demo.data import ImageTensors
from diffusion_demo.diffusion.losses import training_losses
from diffusion_demo.images import contact_sheet, to_float, to_uint8
from diffusion_demo.models.checkpoint import Checkpoint, make_scheduler, save_checkpoint
from diffusion_demo.models.classifier import Classifier, save_classifier_checkpoint
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
    """Image generation: DDPM, Improved DDPM."""

    def __init__(self, start: Checkpoint, config: TrainConfig):
        self.start: Checkpoint = start
        self.config: TrainConfig = config
        self.null_class: int | None = start.description.null_class

    def losses(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return loss, squared error and bound term (NaN without one) of each image: float32 [N, 3]."""
        chain = self.start.diffusion
        xt = chain.q_sample(batch.x0, batch.t, batch.eps)
        condition = {"class_labels": batch.labels} if self.start.description.class_names else {}
        network_input, timesteps = self._network_input(xt, batch, network), chain.model_timesteps(batch.t, xt)
        output = network(network_input, timesteps, **condition, return_dict=False)[0]
        losses = training_losses(
            chain, output.float(), batch.x0, xt, batch.t, batch.eps, self.config.loss, self.config.min_snr_gamma
        )
        vlb = torch.full_like(losses.mse, torch.nan) if losses.vlb is None else losses.vlb
        return torch.stack([losses.loss, losses.mse, vlb], dim=1)

    def _network_input(self, xt: Tensor, batch: Batch, network: nn.Module) -> Tensor:
        return xt

    def preview(self, network: nn.Module, precision: str, dataset: ImageTensors) -> Image.Image | None:
        """Return a contact sheet of images sampled from the same seeds each time."""
        steps = min(PREVIEW.steps, len(self.start.diffusion))
        request = replace(PREVIEW, precision=precision, steps=steps)
        return contact_sheet(to_uint8(last_step(sample(replace(self.start, unet=network), request)).xt))

    def save(self, folder: Path, network: nn.Module, metadata: CheckpointMetadata, training_loss: float | None) -> None:
        """Write a checkpoint to `folder`, which must not exist yet."""
        assert isinstance(network, UNet2DModel)
        scheduler = make_scheduler(self.start.beta_schedule, self.start.diffusion)
        save_checkpoint(folder, network, scheduler, metadata, _card(network, metadata, training_loss))


class Upsampling(Denoising):
    """Upsampling by a factor of two: Improved DDPM section 5, Guided Diffusion section 5.2.

    The low-resolution inputs are means of 2x2 pixels, as in the papers' code. In training, Gaussian noise with a
    standard deviation of up to `small_noise` is added to them, which makes the network robust to the artifacts of
    generated inputs (Ho et al. 2021, Cascaded Diffusion Models, section 4).
    """

    def _network_input(self, xt: Tensor, batch: Batch, network: nn.Module) -> Tensor:
        small = F.avg_pool2d(batch.x0, UPSCALE_FACTOR)
        if network.training and self.config.small_noise:
            rng = generator(-1)  # the numbers from 0 on belong to the dropouts
            deviation = self.config.small_noise * torch.rand(len(small), 1, 1, 1, generator=rng)
            noise = deviation * torch.randn(small.shape, generator=rng)
            small = small + noise.to(small.device, non_blocking=True)  # a blocking copy would wait for the GPU's queue
        return concat_low_res(xt, small)

    def preview(self, network: nn.Module, precision: str, dataset: ImageTensors) -> Image.Image | None:
        """Return a contact sheet of low-resolution inputs, upsampled images and originals, the same ones each time."""
        real = dataset.images[:12]
        small = F.avg_pool2d(to_float(real), UPSCALE_FACTOR)
        checkpoint = replace(self.start, unet=network)
        steps = min(PREVIEW.steps, len(self.start.diffusion))
        request = Request(num_images=len(real), steps=steps, precision=precision)
        specs = image_specs(request, self.start.description)
        upsampled = to_uint8(last_step(sample_batch(checkpoint, request, specs, small)).xt)
        enlarged_input = to_uint8(F.interpolate(small, upsampled.shape[-2:], mode="nearest"))
        triples = torch.stack([enlarged_input, upsampled, real], dim=1)
        return contact_sheet(triples.flatten(0, 1), columns=6)


class Classifying:
    """Classification of noisy images: Guided Diffusion section 4 and appendix H."""

    null_class = None

    def __init__(self, start: Checkpoint, config: TrainConfig):
        self.start = start

    def losses(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return cross-entropy, error (1 if misclassified, else 0) and NaN of each image: float32 [N, 3].

        An image without a class has a loss and an error of 0.
        """
        chain = self.start.diffusion
        xt = chain.q_sample(batch.x0, batch.t, batch.eps)
        logits = network(xt, chain.model_timesteps(batch.t, xt)).float()
        null_class = self.start.description.null_class
        assert null_class is not None
        loss = F.cross_entropy(logits, batch.labels, ignore_index=null_class, reduction="none")
        is_wrong = (logits.argmax(1) != batch.labels) & (batch.labels != null_class)
        return torch.stack([loss, is_wrong.to(loss), torch.full_like(loss, torch.nan)], dim=1)

    def preview(self, network: nn.Module, precision: str, dataset: ImageTensors) -> Image.Image | None:
        """Return None, because a classifier generates no images."""
        return None

    def save(self, folder: Path, network: nn.Module, metadata: CheckpointMetadata, training_loss: float | None) -> None:
        """Write a checkpoint to `folder`, which must not exist yet."""
        assert isinstance(network, Classifier)
        scheduler = make_scheduler(self.start.beta_schedule, self.start.diffusion)
        save_classifier_checkpoint(folder, network, scheduler, metadata, _card(network, metadata, training_loss))


def _card(network: nn.Module, metadata: CheckpointMetadata, training_loss: float | None) -> str:
    parameters = sum(p.numel() for p in network.parameters())
    return model_card(metadata, parameters, training_loss, type(network).__name__)


def make_task(start: Checkpoint, config: TrainConfig) -> Denoising | Classifying:
    """Return the task of `config` for the model that the run starts from."""
    return {"diffusion": Denoising, "upsampler": Upsampling, "classifier": Classifying}[config.task](start, config)
