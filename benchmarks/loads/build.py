"""Builds the load generator on first use, for the running interpreter, into the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).with_name("_loads.c")
COMPILE_LIMIT = 120
"""Seconds that the compiler may take."""


def _library() -> Path:
    """Where the library for this source and this interpreter lies, or will lie."""
    of_user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    build = f"{sys.version}{sys.executable}".encode() + SOURCE.read_bytes()
    key = hashlib.sha256(build).hexdigest()[:16]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return Path(of_user) / "gilknock-benchmarks" / key / f"_loads{suffix}"


def _compile(library: Path) -> None:
    """Compile into ``library``, in one step for other processes that look for it."""
    library.parent.mkdir(parents=True, exist_ok=True)
    fresh = library.with_name(f"{os.getpid()}-{library.name}")
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread", "-shared", "-fPIC"]
    include = f"-I{sysconfig.get_path('include')}"
    command = [*compiler, *options, include, str(SOURCE), "-o", str(fresh)]
    subprocess.run(command, check=True, timeout=COMPILE_LIMIT)
    fresh.replace(library)


def load() -> ModuleType:
    """Return ``_loads``; raises :class:`subprocess.CalledProcessError` where it cannot be built."""
    library = _library()
    if not library.exists():
        _compile(library)
    spec = importlib.util.spec_from_file_location("_loads", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
