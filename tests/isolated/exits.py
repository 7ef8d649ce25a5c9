"""Processes that end while they measure: in every way, with the return code they would have anyway.

Each case is a child's program and what becomes of it. The parent runs many such children and looks
at the return code and at all that they print. Half of them knock every half millisecond; each goes
on for a random moment before it ends, so that the end meets the knocker in all its states.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import scripting
from loads import forever, hold, in_background, let_go, mix, spin
from scripting import checked, opened

from pytest_gilknock import _core

AT_ONCE = 3  # children
READY = "measuring\n"

CHILDREN: dict[str, Callable[[], object]] = {}


def ends(
    code: int, *, send: signal.Signals | None = None, stderr: str = "", stdout: str = ""
) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Make a function the program of a child that ends with this code and prints no more."""

    def add(program: Callable[[], object]) -> Callable[[], object]:
        def run(count: int) -> None:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for failure in pool.map(lambda i: child(program.__name__, i, send), range(count)):
                    got, printed, told = failure
                    assert got == code, (got, told)
                    assert printed == READY + stdout, printed
                    assert re.fullmatch(stderr, told, re.DOTALL), told

        run.__name__, run.__module__ = program.__name__, program.__module__
        CHILDREN[program.__name__] = program
        return scripting.case(usual=6, nightly=1000)(run)

    return add


def child(name: str, number: int, send: signal.Signals | None) -> tuple[int, str, str]:
    """Run a child to its end; return its return code and what it printed."""
    process = subprocess.Popen(
        [sys.executable, __file__, "child", name, str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    if send is not None and ready:
        time.sleep(random.uniform(0, 0.02))
        process.send_signal(send)
    stdout, stderr = process.communicate()
    return process.returncode, ready + stdout, stderr


def measure_for_a_moment() -> None:
    """Have windows open, closed and dropped, and a knocker that is somewhere on its round."""
    global _open
    _open = [opened(), opened(method="sampled"), opened(threads=False)]
    opened()
    checked(opened().end())
    print(READY, end="", flush=True)
    time.sleep(random.uniform(0, 0.01))


# --- the end of the main thread ---


@ends(0)
def returns() -> None:
    measure_for_a_moment()


@ends(0)
def closes_its_windows() -> None:
    measure_for_a_moment()
    for window in _open:
        checked(window.end())


@ends(1, stderr=r"Traceback .*\nValueError: so be it\n")
def raises() -> None:
    measure_for_a_moment()
    raise ValueError("so be it")


@ends(5)
def sys_exit() -> None:
    measure_for_a_moment()
    sys.exit(5)


@ends(5)
def sys_exit_while_threads_work() -> None:
    def work() -> None:
        for _ in range(20):
            mix()

    measure_for_a_moment()
    for _ in range(3):
        threading.Thread(target=work).start()
    sys.exit(5)


@ends(0)
def sys_exit_in_a_thread() -> None:
    measure_for_a_moment()
    thread = threading.Thread(target=sys.exit, args=(5,))
    thread.start()
    thread.join()


@ends(0)
def a_thread_closes_the_window_after_the_main_thread_ended() -> None:
    def close() -> None:
        threading.main_thread().join()
        for window in _open:
            checked(window.end())

    measure_for_a_moment()
    threading.Thread(target=close).start()


@ends(7)
def os_exit() -> None:
    measure_for_a_moment()
    os._exit(7)


@ends(7)
def os_exit_in_a_thread() -> None:
    measure_for_a_moment()
    in_background(2, mix)
    threading.Thread(target=os._exit, args=(7,)).start()
    forever(mix)()


@ends(9)
def exit_of_the_c_library() -> None:
    measure_for_a_moment()
    ctypes.PyDLL(None).exit(9)


@ends(9)
def exit_of_the_c_library_without_the_gil() -> None:
    measure_for_a_moment()
    ctypes.CDLL(None).exit(9)


@ends(0, stdout="the next program\n")
def exec_of_another_program() -> None:
    measure_for_a_moment()
    in_background(2, mix)
    os.execl(sys.executable, sys.executable, "-c", "print('the next program')")


# --- signals ---


@ends(-signal.SIGTERM, send=signal.SIGTERM)
def sigterm() -> None:
    measure_for_a_moment()
    in_background(2, mix)
    forever(mix)()


@ends(3, send=signal.SIGTERM)
def sigterm_with_a_handler() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    measure_for_a_moment()
    in_background(2, mix)
    forever(mix)()


@ends(-signal.SIGINT, send=signal.SIGINT, stderr=r"Traceback .*\nKeyboardInterrupt\n")
def sigint() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    measure_for_a_moment()
    forever(lambda: checked(opened().end()))()


@ends(-signal.SIGABRT)
def abort() -> None:
    measure_for_a_moment()
    os.abort()


# --- daemon threads ---


@ends(0)
def daemon_threads_run_python() -> None:
    measure_for_a_moment()
    in_background(4, lambda: spin(0.01))


@ends(0)
def daemon_threads_are_in_native_calls() -> None:
    measure_for_a_moment()
    in_background(2, lambda: let_go(random.uniform(0, 2e-3)))
    in_background(2, lambda: hold(random.uniform(0, 2e-3)))
    time.sleep(0.005)


@ends(0)
def daemon_threads_open_and_close_windows() -> None:
    def window() -> None:
        mine = opened()
        mix()
        mine.peek()
        mine.end()

    measure_for_a_moment()
    in_background(4, window)
    time.sleep(0.005)


@ends(0)
def a_knock_is_unanswered() -> None:
    """Each time that the main thread gets the GIL there are knocks that have not got it yet."""
    measure_for_a_moment()
    knockers = [_core.Knocker(0, 1_000_000, 0) for _ in range(4)]
    for knocker in knockers:
        knocker.start()
    in_background(1, lambda: hold(0.05))
    let_go(0.02)


@ends(-signal.SIGTERM, send=signal.SIGTERM)
def a_knock_is_never_answered() -> None:
    measure_for_a_moment()
    hold(1000)


# --- knockers ---


@ends(0)
def knockers_run_and_nobody_stops_them() -> None:
    global _knockers
    measure_for_a_moment()
    _knockers = [
        _core.Knocker(polling, 1000, sleeping)
        for polling in (0, 100, 10**9)
        for sleeping in (0, 500)
    ]
    for knocker in _knockers:
        knocker.start()
    mix()


@ends(0)
def knockers_are_dropped() -> None:
    measure_for_a_moment()
    for _ in range(10):
        _core.Knocker(100, 1000, 0).start()
        let_go(random.uniform(0, 1e-3))


# --- after the core's own end ---


@ends(0)
def later_atexit_handlers_open_windows() -> None:
    def open_late() -> None:
        _open.append(opened())
        late = opened()
        mix()
        checked(late.peek())
        checked(late.end())
        for window in _open:
            checked(window.end())

    atexit.unregister(_core._shutdown)
    atexit.register(open_late)
    atexit.register(_core._shutdown)  # the last to be registered is the first to be called
    measure_for_a_moment()


@ends(0)
def later_atexit_handlers_start_no_knocker() -> None:
    def start_late() -> None:
        told = "it started"
        try:
            _core.Knocker(100, 1000, 0).start()
        except RuntimeError as error:
            told = str(error)
        if told != "no thread can be started: the interpreter is ending":
            os._exit(1)  # what is raised here is only printed

    atexit.unregister(_core._shutdown)
    atexit.register(start_late)
    atexit.register(_core._shutdown)
    measure_for_a_moment()


@ends(0)
def finalizers_close_windows() -> None:
    class Closing:
        def __init__(self) -> None:
            self.window = opened()
            self.cycle = self

        def __del__(self) -> None:
            checked(self.window.end())
            opened()

    measure_for_a_moment()
    sys.modules["keeps"] = Closing()  # type: ignore[assignment]
    Closing()
    threading.current_thread().keeps = Closing()  # type: ignore[attr-defined]
    in_background(2, mix)


def run_child(name: str, number: int) -> None:
    if number % 2:
        _core.set_knock_interval(5e-4)
    CHILDREN[name]()


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        run_child(sys.argv[2], int(sys.argv[3]))
    else:
        scripting.main()
