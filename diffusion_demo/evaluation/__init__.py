"""Measuring a model: bits per dimension on images that it never saw, and how far its images are from the data's."""
