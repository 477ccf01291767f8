"""Evaluation: bits per dimension of held-out images, and metrics that compare samples with a data set."""
