"""Collects the readings of a run, prints them and writes them to files."""
