"""Networks, checkpoint folders and importers."""
