"""Folders and zips of pictures, the odd files that people have, and those that are made to harm."""
