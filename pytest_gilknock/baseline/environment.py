"""What a run is measured on: the machine, the interpreter, the commit. No pytest."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping

from pytest_gilknock.baseline.model import (
    Baseline,
    BaselineEntry,
    Commit,
    Interpreter,
    Machine,
)
from pytest_gilknock.model.units import SECONDS

_GIT_SECONDS = 10.0

_COMMIT_VARIABLES = ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT")
_BRANCH_VARIABLES = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BRANCH_NAME")
"""Of GitHub Actions, GitLab CI and Jenkins, whose checkouts are of a commit and of no branch."""


def baseline(tests: Mapping[str, BaselineEntry], commit: Commit | None = None) -> Baseline:
    """Return the entries as a baseline of this process, made now."""
    return Baseline(
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine=Machine(
            kind=machine_kind(),
            release=platform.release() or "unknown",
            arch=platform.machine() or "unknown",
            cpus=_cpus(),
        ),
        interpreter=Interpreter(
            version=platform.python_version(),
            gil_enabled=getattr(sys, "_is_gil_enabled", lambda: True)(),
            switch_interval=round(sys.getswitchinterval(), SECONDS.digits),
        ),
        commit=commit,
        tests=tests,
    )


def machine_kind() -> str:
    """Return the folder of this machine's runs: ``Linux-CPython-3.13-64bit-freethreaded``."""
    major, minor, *_ = platform.python_version_tuple()
    parts = [
        platform.system() or "unknown",
        platform.python_implementation(),
        f"{major}.{minor}",
        "64bit" if sys.maxsize > 2**32 else "32bit",
    ]
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        parts.append("freethreaded")
    return "-".join(parts)


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def commit_of(folder: str) -> Commit | None:
    """Return the commit checked out in ``folder``; None where neither git nor the CI has it.

    Never raises: a baseline without its commit is a baseline.
    """
    lines = _git_status(folder)
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    oid = heads.get("branch.oid", "(initial)")
    if oid.startswith("("):
        oid = _first_set(_COMMIT_VARIABLES) or ""
    if not oid:
        return None
    branch = heads.get("branch.head", "(detached)")
    if branch.startswith("("):
        branch = _first_set(_BRANCH_VARIABLES) or ""
    dirty = any(not line.startswith("#") for line in lines) if lines else None
    return Commit(id=oid[:100], branch=branch[:200] or None, dirty=dirty)


def _git_status(folder: str) -> list[str]:
    command = ["git", "-C", folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []


def _first_set(names: Iterable[str]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)
