"""Uploads to the Hugging Face Hub: Spaces that run the page, and published models. Downloads: `models/hub.py`."""
