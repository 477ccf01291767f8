"""Measuring a model: bits per dimension on pictures that it never saw, and how far its pictures are from the data's."""
