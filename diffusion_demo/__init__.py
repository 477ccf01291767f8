"""See, run and train diffusion models: DDPM, Improved DDPM and Guided Diffusion."""

import os

from diffusion_demo.runtime.cpu_quota import cpu_quota

# torch reads these variables once, when it is loaded. Active waiting made two OpenMP threads ten times slower than one
# when another process used a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if (_cores := cpu_quota()) and _cores < (os.cpu_count() or 1):
    os.environ.setdefault("OMP_NUM_THREADS", str(_cores))

__version__ = "0.1.0"
