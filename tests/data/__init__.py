"""Folders and zips of images, the odd files that people have, and those that are made to harm."""
