"""See, run and train diffusion models: DDPM, Improved DDPM and Guided Diffusion."""

import os

# Two OpenMP threads that spin while a neighbour uses a core ran ten times slower than one (torch reads this once, on loading).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
