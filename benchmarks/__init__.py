"""Benchmarks: `python -m benchmarks` prints a table; the longer ones are modules with their own main()."""

import diffusion_demo  # noqa: F401  must precede torch, because it sets how OpenMP threads wait
