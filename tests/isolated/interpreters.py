"""Other interpreters in the process, with the GIL that is measured and with one of their own."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import scripting
from loads import in_threads, mix, spin
from scripting import case, checked, measured, not_here, opened, require_locks, true_share

from pytest_gilknock import _core

try:
    interpreters = importlib.import_module(
        "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    )
except ImportError:
    not_here("this Python has no module for other interpreters")

Run = Callable[[str], None]

WORK = """
import time
until = time.perf_counter() + {seconds}
while time.perf_counter() < until:
    pass
"""

THREADS = """
import threading, time
def work():
    for _ in range(20):
        sum(range(500))
        time.sleep(1e-5)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

REFUSED = """
import sys
sys.path.insert(0, {package!r})
try:
    from pytest_gilknock import _core
except ImportError:
    pass
else:
    raise SystemError("the core was imported")
"""


@contextlib.contextmanager
def interpreter(*, own_gil: bool) -> Iterator[Run]:
    """Another interpreter; what is yielded runs code in it and raises if that raises."""
    if sys.version_info >= (3, 13):
        name = interpreters.create("isolated" if own_gil else "legacy")
    elif sys.version_info >= (3, 12):
        name = interpreters.create(isolated=own_gil)
    else:
        name = interpreters.create(isolated=False)

    def run(code: str) -> None:
        failure = interpreters.run_string(name, code)
        assert failure is None, failure

    try:
        yield run
    finally:
        interpreters.destroy(name)


def require_own_gil() -> None:
    if sys.version_info < (3, 12):
        not_here("interpreters have no GIL of their own before Python 3.12")


def refused(*, own_gil: bool, count: int) -> None:
    """The core is not imported there, whatever is under way in the main interpreter."""
    code = REFUSED.format(package=str(Path(_core.__file__).parents[1]))
    window = opened()
    for _ in range(count):
        with interpreter(own_gil=own_gil) as run:
            run(code)
            run(code)
        with measured():
            mix()
    checked(window.end())


@case(usual=10, nightly=300)
def the_core_is_refused_where_the_gil_is_shared(count: int) -> None:
    refused(own_gil=False, count=count)


@case(usual=10, nightly=300)
def the_core_is_refused_where_the_gil_is_not_shared(count: int) -> None:
    require_own_gil()
    refused(own_gil=True, count=count)


LOCKS = """
import gc, threading, time
lock, table = threading.Lock(), {}
def wait():
    with lock:
        pass
def share():
    for number in range(2000):
        table[number % 20] = table.get(number % 20, 0) + 1
lock.acquire()
threads = [threading.Thread(target=wait), *(threading.Thread(target=share) for _ in range(3))]
for thread in threads:
    thread.start()
gc.collect()
time.sleep(0.05)
lock.release()
for thread in threads:
    thread.join()
"""


@case(usual=6, nightly=300)
def waits_for_locks_of_another_interpreter_are_counted(count: int) -> None:
    """What kind of lock it is cannot always be proved there; then it is said to be unproven."""
    require_locks()
    for number in range(count):
        with interpreter(own_gil=number % 2 == 1) as run:
            window = opened(locks=True)
            run(LOCKS)
            raw = window.end()
        assert isinstance(raw["locks"], dict), raw["locks"]
        kinds = raw["locks"]["kinds"]
        longest = max(kinds["program"][2], kinds["unproven"][2])
        assert 0.045 <= longest <= raw["wall"], (kinds, raw["wall"])
        for _, total, one in kinds.values():
            assert one <= total + 1e-9, kinds


@case(usual=5, nightly=300)
def work_under_the_same_gil_counts(count: int) -> None:
    with interpreter(own_gil=False) as run:
        for _ in range(count):
            true_share(0.9, 1, lambda: run(WORK.format(seconds=0.02)))


@case(usual=5, nightly=300)
def work_under_another_gil_does_not_count(count: int) -> None:
    require_own_gil()
    with interpreter(own_gil=True) as run:
        for _ in range(count):
            true_share(0, 0.5, lambda: run(WORK.format(seconds=0.05)))


def threads_there(*, own_gil: bool, count: int) -> None:
    """Threads in another interpreter, and threads of the main one at the same time."""
    stop = False

    def work() -> None:
        while not stop:
            mix()
            checked(opened().end())

    threads = [threading.Thread(target=work) for _ in range(2)]
    with measured():
        for thread in threads:
            thread.start()
        for _ in range(count):
            with interpreter(own_gil=own_gil) as run:
                run(THREADS)
        stop = True
        for thread in threads:
            thread.join()


@case(usual=3, nightly=200)
def threads_under_the_same_gil(count: int) -> None:
    threads_there(own_gil=False, count=count)


@case(usual=3, nightly=200)
def threads_under_another_gil(count: int) -> None:
    require_own_gil()
    threads_there(own_gil=True, count=count)


@case(usual=3, nightly=200)
def interpreters_in_many_threads_at_once(count: int) -> None:
    own_gil = sys.version_info >= (3, 12)

    def one() -> None:
        for _ in range(count):
            window = opened()
            with interpreter(own_gil=own_gil) as run:
                run(WORK.format(seconds=2e-3))
            spin(1e-3)
            checked(window.end())

    with measured():
        in_threads(3, one)


if __name__ == "__main__":
    scripting.main()
