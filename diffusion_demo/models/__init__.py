"""Networks, and how they lie on disk."""
