"""Loads whose truth is known from their own stamps: how long the GIL was held, who waited.

``_loads.c`` holds and releases the GIL as told; :mod:`loads.truth` runs it, and threads of Python,
inside the window of an instrument and works out the truth of that very window.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from loads.build import load

if TYPE_CHECKING:
    from loads import _loads as native
else:
    native = sys.modules[f"{__name__}.native"] = load()

__all__ = ["native"]
