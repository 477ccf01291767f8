"""Lesson 3, all steps: reconstructions from x_t, interpolation, sampling from noise at t, and DDIM inversion."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from diffusion_demo.diffusion.reconstruction import interpolate, reconstruct
from diffusion_demo.diffusion.samplers import Step, ddim, ddim_encode
from diffusion_demo.diffusion.timesteps import log_snr_timesteps
from diffusion_demo.sampling.generate import last_step
from diffusion_demo.ui.inspect.lessons import html
from diffusion_demo.ui.inspect.lessons.scene import Scene

IMAGES, STEPS, DDIM_STEPS = 7, 8, 256
SOURCE = "DDPM, Figures 7 and 8; DDIM, Equation 14; Improved DDPM, section 4"
RECOVERED = (
    "With little noise, an image like the training data is recovered; with more, only its colors are. Each image takes "
    f"{STEPS} steps."
)
LATEX = r"x_0 \sim p_\theta(x_0 \mid x_t)"


def parts(scene: Scene) -> Iterator[str]:
    """Yield the HTML of each figure, as soon as it is computed."""
    chain = scene.respaced_from_t(STEPS)
    level, xt, labels = len(chain) - 1, scene.xt.repeat(IMAGES, 1, 1, 1), scene.labels(IMAGES)
    yield html.part(
        "All steps: regenerate from x<sub>t</sub>",
        html.equation(LATEX, RECOVERED, SOURCE),
        html.strip(
            _last(reconstruct(scene.model, chain, xt, level, _noise(scene, 5), **labels)),
            f"From the same x<sub>t</sub>, t = {scene.t}, different noise while denoising",
        ),
    )
    shares = torch.linspace(0, 1, IMAGES)
    yield html.strip(
        _last(interpolate(scene.model, chain, scene.x0, scene.other, shares, level, _noise(scene, 6), **labels)),
        f"Between the image and {scene.other_name}, mixed at t = {scene.t}",
    )
    yield html.strip(
        _last(reconstruct(scene.model, chain, scene.draws(IMAGES, 7), level, _noise(scene, 8), **labels)),
        f"Started from pure noise at t = {scene.t}: good only where x<sub>t</sub> is nearly noise anyway",
    )
    decoded, error = ddim_round_trip(scene)
    caption = (
        f"DDIM inversion and decoding, {DDIM_STEPS} steps each: off by {error:.1f} of 255 (RMS; less with more steps)"
    )
    yield html.image_row({"The image": scene.x0, caption: decoded})


@torch.no_grad()
def ddim_round_trip(scene: Scene, num_steps: int = DDIM_STEPS) -> tuple[Tensor, float]:
    """Return the image after DDIM encoding, without its last step, and decoding, and its RMS error in gray levels.

    ADM appendix F. The steps are uniform in log SNR. Evenly spaced ones lose the image near T: on a cosine schedule the
    last of 100 takes log SNR from -8 to -20, while the large features of an image still show in x_t there. With fewer
    than 256 some images of the bundled model come back as others, up to 100 gray levels off.
    """
    chain = scene.chain.respaced(log_snr_timesteps(scene.chain.abar, min(num_steps, len(scene.chain))))
    encoding = ddim_encode(scene.model, chain, scene.x0, **scene.labels(1))
    latent = [next(encoding) for _ in range(len(chain) - 1)][-1].xt
    decoded = _last(ddim(scene.model, chain, latent, lambda: torch.zeros_like(latent), clip=False, **scene.labels(1)))
    return decoded, 127.5 * float((decoded.clamp(-1, 1) - scene.x0).square().mean().sqrt())


def _last(steps: Iterator[Step]) -> Tensor:
    """Return x of the last step."""
    with torch.no_grad():
        return last_step(steps).xt


def _noise(scene: Scene, salt: int) -> Callable[[], Tensor]:
    """Return a sampler of standard normal noise, float32 [IMAGES, C, S, S], seeded by the scene and `salt`."""
    generator = torch.Generator().manual_seed(1000 * scene.seed + salt)
    return lambda: torch.randn(IMAGES, *scene.x0.shape[1:], generator=generator).to(scene.x0.device)
