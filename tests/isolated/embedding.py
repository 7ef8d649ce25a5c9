"""A program that starts and ends the interpreter several times, and measures in each of them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import scripting
from pytest_runs import PACKAGE
from scripting import case, not_here

PROGRAM = """
#include <Python.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    for (int i = 0; i < atoi(argv[2]); i++) {
        Py_Initialize();
        if (PyRun_SimpleString(argv[1]) != 0 || Py_FinalizeEx() != 0) {
            return 1;
        }
    }
    return argc != 3;
}
"""

# What is left open, running and under way at the end of each interpreter differs. No ctypes: with
# it CPython 3.12.1 crashes by itself in the second interpreter.
WORK = """
import random, sys, threading, time
sys.path[:0] = {path!r}
from scripting import METHOD, checked, measured, opened
from pytest_gilknock import _core

def mix():
    sum(range(10_000))
    time.sleep(2e-4)

_core.set_knock_interval(5e-4)
with measured() as raw:
    threads = [threading.Thread(target=mix) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert METHOD != "exact" or raw["held"] > 0, raw
left_open = opened(), opened(method="sampled")
if random.random() < 0.5:
    knocker = _core.Knocker(100, 1000, 0)
    knocker.start()
time.sleep(random.uniform(0, 3e-3))
if random.random() < 0.5:
    checked(left_open[0].end())
"""


def built(folder: str) -> Path:
    """Compile the program against this Python."""
    source, program = Path(folder, "embedding.c"), Path(folder, "embedding")
    source.write_text(PROGRAM, encoding="utf-8")
    settings = sysconfig.get_config_vars()
    library = settings.get("LDLIBRARY") or ""
    libdir = settings.get("LIBDIR") or ""
    if not Path(libdir, library).exists():
        not_here(f"no {library or 'library'} of Python to link with")
    command = [
        *settings["CC"].split(),
        f"-I{sysconfig.get_path('include')}",
        *settings["LINKFORSHARED"].split(),
        "-o",
        program,
        source,
        f"{libdir}/{library}",
        f"-Wl,-rpath,{libdir}",
        *settings["LIBS"].split(),
        *settings["SYSLIBS"].split(),
    ]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError:
        not_here(f"no compiler {command[0]!r} here")
    return program


@case(usual=10, nightly=300)
def interpreters_one_after_another(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [built(folder), WORK.format(path=[*sys.path, PACKAGE]), str(count)],
            env={**os.environ, "PYTHONHOME": sys.base_prefix},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, ""), (done.returncode, done.stderr)


if __name__ == "__main__":
    scripting.main()
