"""Training: configuration, the loop on Accelerate, and the run folder, which holds the whole state of a run."""
