"""What is checked, each in an environment of its own: ``nox -l``, ``nox -s lint``."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "docs", "coverage_c", "core"]

# Says "X.Y[t]" of a CPython that can build the extension and be tested with it.
VERSION = """
import ensurepip, os, sys, sysconfig, venv
headers = os.path.join(sysconfig.get_path("include"), "Python.h")
if sys.implementation.name == "cpython" and sys.version_info >= (3, 10) and os.path.exists(headers):
    free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
    print("%d.%d" % sys.version_info[:2] + ("t" if free_threaded else ""))
"""


def interpreters() -> dict[str, str]:
    """Every CPython at hand, this one, on the path or of pyenv: its version and where it is."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = [sys.executable]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = sorted(glob.glob(f"{glob.escape(folder)}/python3.*"))
        candidates += [python for python in found if re.search(r"python3\.\d+t?$", python)]
    candidates += sorted(glob.glob(f"{glob.escape(pyenv)}/versions/3.*/bin/python3"))
    versions: dict[str, str] = {}
    for python in candidates:
        done = subprocess.run([python, "-c", VERSION], capture_output=True, text=True)
        if version := done.stdout.strip():
            versions.setdefault(version, python)
    return versions


INTERPRETERS = interpreters()
ALL = [nox.param(path, id=version) for version, path in INTERPRETERS.items()]

# The tag of those that are not this one, with which the tests run anyway; of all where none is.
OTHERS = [path for path in INTERPRETERS.values() if path != sys.executable]
CORE = [
    nox.param(path, id=version, tags=["others"] if path in OTHERS or not OTHERS else [])
    for version, path in INTERPRETERS.items()
]


# Coverage is measured, not judged, by a run of the tests: the run without it gives the verdict, at
# its own speed. 1 is pytest's status when a test failed.
MEASURING = (0, 1)


def copy_of_tree(session: nox.Session) -> str:
    """Copy what an installation is made of: builds in the tree itself disturb each other."""
    copy = Path(session.create_tmp()) / "tree"
    shutil.rmtree(copy, ignore_errors=True)
    for folder in ("src", "pytest_gilknock"):
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
    for file in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return str(copy)


def from_root(argument: str) -> str:
    """A path of this tree as the tests' own folder needs it; anything else as it is."""
    return str(ROOT / argument) if (ROOT / argument.partition("::")[0]).exists() else argument


def run_tests(
    session: nox.Session,
    *arguments: object,
    success_codes: tuple[int, ...] = (0,),
    **environment: str,
) -> None:
    """From another folder, so that the installed package is tested and not this tree."""
    with session.chdir(session.create_tmp()):
        session.run(
            *("python", "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)),
            *map(str, arguments),
            env=environment,
            success_codes=success_codes,
        )


@nox.session
@nox.parametrize("python", ALL)
def tests(session: nox.Session) -> None:
    """All tests, or those named after --."""
    session.install(f"{copy_of_tree(session)}[test]")
    run_tests(session, *(map(from_root, session.posargs) if session.posargs else [ROOT / "tests"]))


@nox.session
@nox.parametrize("python", CORE)
def core(session: nox.Session) -> None:
    """The tests of the C core, which need nothing but pytest."""
    session.install(copy_of_tree(session), "pytest")
    run_tests(session, str(ROOT / "tests" / "core"), *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, the stub against the extension, and what the workflows may do."""
    session.install("-e", ".[test,lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    tracked = subprocess.run(
        ["git", "ls-files", "*.c", "*.h"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    session.run("clang-format", "--dry-run", "-Werror", *tracked.stdout.split())
    session.run("mypy")
    session.run("python", "-m", "mypy.stubtest", "pytest_gilknock._core")
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation's pages, into docs/_build; no warning, no reference that leads nowhere."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-q", "-W", "-n", "--keep-going", "docs", "docs/_build")


@nox.session
def coverage_c(session: nox.Session) -> None:
    """Which lines of the C run in the native tests and in those of the core."""
    session.install(f"{copy_of_tree(session)}[test,coverage]")
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    flags = {"CFLAGS": "--coverage -fprofile-update=atomic", "LDFLAGS": "--coverage"}
    built = folder / "built"
    session.run(
        *("python", "setup.py", "--quiet", "build_ext"),
        *("--build-lib", str(built), "--build-temp", str(folder / "objects")),
        env=flags,
    )
    shutil.copytree(
        ROOT / "pytest_gilknock",
        built / "pytest_gilknock",
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
        dirs_exist_ok=True,
    )
    run_tests(
        session,
        *("-q", ROOT / "tests" / "core", ROOT / "tests" / "native" / "test_native.py"),
        *("-k", "not (native and (address or thread))", f"--basetemp={folder / 'native'}"),
        success_codes=MEASURING,
        **flags,
        PYTHONPATH=str(built),
    )
    report = ["gcovr", "--root", str(ROOT), "--filter", "src/", str(folder)]
    merging = ["--merge-lines", "--merge-mode-functions=separate"]
    session.run(*report, *merging, "--txt-summary", "--fail-under-line=80")
