"""What tests share. ``tests`` is on the path, by its conftest.py: ``from support import inner``."""
