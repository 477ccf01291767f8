"""Tests of image sources, with unusual, damaged and malicious files."""
