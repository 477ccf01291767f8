"""The trainer: a config, a loop on Accelerate, and the run folder that is its only truth."""
