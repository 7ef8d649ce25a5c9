"""Leaves out the programs for a Python without a GIL where there is one."""

import sys

if getattr(sys, "_is_gil_enabled", lambda: True)():
    collect_ignore = ["test_demo_without_gil.py"]
