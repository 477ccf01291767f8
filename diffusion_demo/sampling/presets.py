"""Three words for how much work an image gets: sampler, steps and eta; and where guidance acts. From the README's tables."""

DEFAULT_ETA = {"dpm_solver": 0.5}  # the other samplers go without
# The solver is at its best from ten steps on (12 leaves some room, 8 is the least it takes); ancestral sampling is nearest to the 1,000 steps of
# the papers from 50 on, and 100 leaves room there, too.
PRESETS = {"quick": ("dpm_solver", 8, 0.5), "balanced": ("dpm_solver", 12, 0.5), "best": ("ddpm", 100, 0)}
DEFAULT = "balanced"
# Per cent of the noise. Below it guidance doubles the cost of a step (four of the twelve) and changes nothing that could be measured.
GUIDANCE_START_PERCENT = 40


def default_guidance_interval(num_train_timesteps: int) -> tuple[int, int]:
    """The lowest and the highest t at which guidance acts unless somebody says otherwise."""
    return round(GUIDANCE_START_PERCENT / 100 * num_train_timesteps), num_train_timesteps - 1
