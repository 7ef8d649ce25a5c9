"""Every thread that lived as a threading.Thread inside a window has its own name in the reading."""

from __future__ import annotations

import _thread
import ctypes
import subprocess
import sys
import threading

import scripting
from loads import let_go
from scripting import METHOD, case, checked_threads, measured, not_here, opened

from pytest_gilknock import _core

PR_SET_NAME = 15


def called(name: str) -> None:
    """Have the system call this thread so, as setproctitle does."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def names(raw: _core.RawReading) -> list[str | None]:
    return [thread[1] for thread in raw["threads"]]


def needs_threads() -> None:
    if METHOD != "exact":
        not_here("only exact readings tell threads apart")


def run_one(name: str, **options: object) -> threading.Thread:
    thread = threading.Thread(target=int, name=name, **options)
    thread.start()
    thread.join()
    return thread


@case(usual=2000, nightly=15_000)
def of_threads_that_are_gone(count: int) -> None:
    """Nobody has their Thread objects any more, and the system calls them all the same."""
    needs_threads()
    with measured() as raw:
        for i in range(count):
            if i == count // 2:
                called("a test's title")
            run_one(f"short {i}")
    assert set(names(raw)) >= {f"short {i}" for i in range(count)}
    assert "MainThread" in names(raw)


@case(usual=10, nightly=100)
def that_are_long(count: int) -> None:
    """A name may have 255 bytes; of a longer one the first characters that fit are kept."""
    needs_threads()
    with measured() as raw:
        for i in range(count):
            run_one(f"{i:03}" + 252 * "x")
            run_one(f"{i:03}" + 100 * "th\N{LATIN SMALL LETTER E WITH ACUTE}")
    assert set(names(raw)) == {"MainThread"} | {f"{i:03}" + 252 * "x" for i in range(count)} | {
        f"{i:03}" + 63 * "th\N{LATIN SMALL LETTER E WITH ACUTE}" for i in range(count)
    }


@case(usual=600, nightly=5000)
def of_threads_whose_objects_are_kept(count: int) -> None:
    """Beside as many that have no Thread: they do not stand in the way of those that have one."""
    needs_threads()
    kept = []
    with measured() as raw:
        for i in range(count):
            ended = threading.Event()
            _thread.start_new_thread(lambda e: (let_go(1e-6), e.set()), (ended,))
            assert ended.wait(60)
            kept.append(run_one(f"kept {i}"))
    assert set(names(raw)) >= {thread.name for thread in kept}
    assert set(names(raw)) <= {thread.name for thread in kept} | {"MainThread", None}


@case(usual=100, nightly=2000)
def of_threads_without_a_thread_object(count: int) -> None:
    """The system's name of such a thread is told only if it is its own."""
    needs_threads()
    called("the title")
    done = threading.Semaphore(0)

    def work(name: str | None) -> None:
        if name is not None:
            called(name)
        let_go(1e-5)
        done.release()

    window = opened()
    for i in range(count):
        _thread.start_new_thread(work, (None if i % 2 else f"own {i}",))
        done.acquire()
    for _ in range(1000):  # until the last one has ended
        let_go(1e-3)
        found = names(window.peek())
        if len(set(found)) == count // 2 + 2:
            break
    checked_threads(window.end())
    assert found.count(None) == count // 2, found
    assert set(found) == {None, "MainThread"} | {f"own {i}" for i in range(0, count, 2)}, found


@case(usual=50, nightly=1000)
def of_threads_that_c_code_starts(count: int) -> None:
    """They do not have the name of the Thread that they were started in, which they inherit."""
    needs_threads()
    libc = ctypes.CDLL(None)
    libc.pthread_join.argtypes = (ctypes.c_ulong, ctypes.c_void_p)
    own = iter(range(count))

    def work(argument: int | None) -> None:
        if argument is not None:
            called(f"own {next(own)}")
        let_go(1e-5)

    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work)

    def create(name: str) -> None:
        called(name)  # as CPython does from 3.14 on
        for argument in None, 1:
            thread = ctypes.c_ulong()
            assert libc.pthread_create(ctypes.byref(thread), None, run, argument) == 0
            assert libc.pthread_join(thread, None) == 0

    with measured() as raw:
        for i in range(count):
            name = f"creator {i:03} and more"
            thread = threading.Thread(target=create, args=(name,), name=name)
            thread.start()
            thread.join()
    found = names(raw)
    assert found.count(None) == count, found
    expected = {f"creator {i:03} and more" for i in range(count)} | {
        f"own {i}" for i in range(count)
    }
    assert set(found) == {"MainThread", None} | expected, found


@case(usual=100, nightly=2000)
def where_a_debugger_starts_the_threads(count: int) -> None:
    """It puts a function of its own before that of the interpreter."""
    needs_threads()
    name = (
        "_start_joinable_thread"
        if hasattr(threading, "_start_joinable_thread")
        else "_start_new_thread"
    )
    original = getattr(threading, name)

    def traced(*arguments: object, **options: object) -> object:
        return original(*arguments, **options)

    setattr(threading, name, traced)
    with measured() as raw:
        for i in range(count):
            run_one(f"traced {i}")
    assert set(names(raw)) >= {f"traced {i}" for i in range(count)}


class Service(threading.Thread):
    """Starts another thread besides, in a start() of its own."""

    def start(self) -> None:
        self.done = threading.Event()
        _thread.start_new_thread(self.help, ())
        super().start()

    def help(self) -> None:
        let_go(1e-3)
        self.done.set()

    def run(self) -> None:
        assert self.done.wait(60)


@case(usual=50, nightly=1000)
def of_threads_that_a_start_of_a_class_of_its_own_starts(count: int) -> None:
    needs_threads()
    with measured() as raw:
        for i in range(count):
            thread = Service(name=f"service {i}")
            thread.start()
            thread.join()
    found = names(raw)
    assert sorted(filter(None, found)) == sorted(
        ["MainThread", *(f"service {i}" for i in range(count))]
    )
    assert found.count(None) == count


OLDER = """
import threading
go = threading.Event()
threads = [threading.Thread(target=go.wait, name=f"older {i}") for i in range(300)]
for thread in threads:
    thread.start()
from pytest_gilknock import _core
window = _core.Window()
window.begin()
go.set()
while threads:
    threads.pop().join()
names = {thread[1] for thread in window.end()["threads"]}
assert names == {"MainThread"} | {f"older {i}" for i in range(300)}, names
"""


@case(usual=3, nightly=100)
def of_threads_older_than_the_first_window(count: int) -> None:
    needs_threads()
    for _ in range(count):
        subprocess.run([sys.executable, "-c", OLDER], check=True, timeout=60)


@case(usual=20, nightly=500)
def of_gevents_main_thread(count: int) -> None:
    """Its greenlets have Thread objects that tell the main thread's native id."""
    needs_threads()
    try:
        from gevent import monkey
    except ImportError:
        not_here("gevent is not installed")
    monkey.patch_all()
    kept = []
    for i in range(count):
        window = opened()
        kept.append(run_one(f"green-{i}"))
        assert names(window.end()) in ([], ["MainThread"])


if __name__ == "__main__":
    scripting.main()
