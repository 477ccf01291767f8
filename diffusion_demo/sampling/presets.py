"""Defaults of sampling, for the command line, the page, its API, evaluation and `Request` alike."""

# Repeated here so that `--help` need not import torch. A test compares both copies.
SAMPLER_TITLES = {"ddpm": "DDPM", "ddim": "DDIM", "dpm_solver": "DPM-Solver++"}
DEFAULT_ETA = {"dpm_solver": 0.5}  # 0 for the other samplers
# By the Frechet distances in docs/results.md, 8 to 12 steps of dpm_solver are within 1.2 standard errors of 1,000
# ancestral steps (12 leave a margin for models that are less well trained), and 100 ancestral steps within one.
PRESETS = {"quick": ("dpm_solver", 8, 0.5), "balanced": ("dpm_solver", 12, 0.5), "best": ("ddpm", 100, 0)}
DEFAULT = "balanced"
# As a percentage of T. Below it guidance doubles the cost of a step (4 of the 12 steps) with no measurable effect.
GUIDANCE_START_PERCENT = 40


def usual_eta(sampler: str) -> float:
    """Return the eta that a sampler uses unless another is given."""
    return DEFAULT_ETA.get(sampler, 0.0)


def default_guidance_interval(num_train_timesteps: int) -> tuple[int, int]:
    """Return the lowest and highest timestep t at which guidance acts by default."""
    return round(GUIDANCE_START_PERCENT / 100 * num_train_timesteps), num_train_timesteps - 1
