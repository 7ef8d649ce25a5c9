"""Saved runs: their model, their file format, where they are stored."""
