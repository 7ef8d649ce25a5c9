"""Free-threaded Python: the GIL is off, and an import turns it on while windows are open."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
import warnings
from pathlib import Path

import scripting
from loads import hold, in_threads, let_go, mix, spin
from scripting import case, checked, checked_threads, not_here, opened

# A module that does not say that it can do without the GIL.
SOURCE = """
#include <Python.h>
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "needs_the_gil", .m_slots = slots};
PyMODINIT_FUNC PyInit_needs_the_gil(void) { return PyModuleDef_Init(&definition); }
"""

# A process in which the offsets that CPython publishes for debuggers are those of no version.
WITHOUT_OFFSETS = """
import ctypes, sys
ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime").value = b"?"
from pytest_gilknock import _core
method, reason = _core.status()
window = _core.Window()
window.begin()
raw = window.end()
assert (raw["method"], raw["reason"]) == (method, reason), (raw, method, reason)
assert raw["gil_enabled"] is sys._is_gil_enabled(), raw
assert method == ("sampled" if sys._is_gil_enabled() else "disabled"), (method, reason)
assert (reason == "the GIL is off") is not sys._is_gil_enabled(), reason
"""


def require_free_threading() -> None:
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        not_here("this Python cannot do without the GIL")


def require_gil_off() -> None:
    require_free_threading()
    if sys._is_gil_enabled():  # type: ignore[attr-defined]
        not_here("the GIL is on from the start")


def turn_on(folder: str) -> None:
    """Build the module and import it."""
    source = Path(folder, "needs_the_gil.c")
    source.write_text(SOURCE, encoding="utf-8")
    module = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    compiler = sysconfig.get_config_var("CC").split()
    include = sysconfig.get_path("include")
    try:
        subprocess.run(
            [*compiler, "-shared", "-fPIC", f"-I{include}", source, "-o", module], check=True
        )
    except FileNotFoundError:
        not_here(f"no compiler {compiler[0]!r} here")
    sys.path.insert(0, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        importlib.import_module("needs_the_gil")
    assert sys._is_gil_enabled()  # type: ignore[attr-defined]


@case(usual=1, nightly=1)
def an_import_turns_it_on(_count: int) -> None:
    """A window that was opened without the GIL tells no more than its time, and why."""
    require_gil_off()
    before = opened()
    stop = False

    def work() -> None:
        while not stop:
            window = opened()
            mix()
            checked(window.end())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    let_go(0.05)
    with tempfile.TemporaryDirectory() as folder:
        turn_on(folder)
    across = opened()
    let_go(0.05)
    stop = True
    for thread in threads:
        thread.join()

    raw = checked(before.end())
    assert raw["method"] == "disabled", raw
    assert raw["gil_enabled"] is True, raw
    assert raw["reason"] != "the GIL is off", raw
    raw = checked(across.end())
    assert raw["method"] == "exact", raw
    assert raw["acquisitions"] > 0, raw
    window = opened()
    hold(0.02)
    raw = checked_threads(window.end())
    assert raw["held"] > 0.5 * raw["wall"], raw


@case(usual=20, nightly=2000)
def windows_without_the_gil(count: int) -> None:
    """Opened, closed and looked at in many threads that really run at the same time."""
    require_gil_off()
    shared = opened()

    def work() -> None:
        for _ in range(count):
            window = opened()
            spin(1e-4)
            checked(shared.peek())
            assert checked(window.end())["method"] == "disabled"

    in_threads(8, work)
    checked(shared.end())


@case(usual=1, nightly=1)
def its_offsets_are_not_known(_count: int) -> None:
    """Where its place cannot be had, the interpreter is asked whether the GIL is on."""
    require_free_threading()
    for on in "0", "1":
        environment = {**os.environ, "PYTHON_GIL": on}
        subprocess.run([sys.executable, "-c", WITHOUT_OFFSETS], check=True, env=environment)


if __name__ == "__main__":
    scripting.main()
