"""Figures, measured side by side: `python -m benchmarks` makes the table of them; modules with a main() of their own take longer."""

import diffusion_demo  # noqa: F401  before torch: it sets how OpenMP's threads wait
