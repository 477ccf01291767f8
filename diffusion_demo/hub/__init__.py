"""The Hugging Face Hub, written to: Spaces that run the page, and published models. `models/hub.py` reads from it."""
