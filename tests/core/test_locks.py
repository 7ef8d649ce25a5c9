"""Waits for locks, judged by threads that know how long they waited and for what.

A thread that waits has a stopwatch around the call: what the core measured must be that, up to what
the call does besides.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import os
import platform
import queue
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from support.locks import REASON, measured_only

from core.loads import hold, in_threads, spin
from pytest_gilknock._core import Window

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
GIL_IS_ON = getattr(sys, "_is_gil_enabled", lambda: True)()
KINDS = ("objects", "stop_the_world", "interpreter", "program", "unproven")


without_gil = pytest.mark.skipif(
    not FREE_THREADED or GIL_IS_ON,
    reason="objects have locks, and are run without a GIL, there only",
)


class Measured:
    """``with Measured() as m:``, then ``m.locks``."""

    def __enter__(self) -> Measured:
        self.window = Window(locks=True)
        self.window.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.locks: Any = self.window.end()["locks"]

    def waits(self, kind: str) -> tuple[int, float, float]:
        count, waited, longest = self.locks["kinds"][kind]
        return count, waited, longest

    def thread(self, name: str) -> Any:
        return waits_of(self.locks, name)


def waits_of(locks: Any, name: str) -> dict[str, tuple[int, float, float]]:
    """What a thread waited. Only that is known: `threading` has locks of its own, for which the
    others may wait, too.
    """
    nothing = dict.fromkeys(KINDS, (0, 0.0, 0.0))
    return next((kinds for _, label, kinds in locks["threads"] if label == name), nothing)


def wait_for(
    take: Callable[[], object], name: str = "waiter"
) -> tuple[threading.Thread, list[float]]:
    """Start a thread that takes something; returns it and where it notes how long that took."""
    took: list[float] = []

    def wait() -> None:
        started = time.perf_counter()
        take()
        took.append(time.perf_counter() - started)

    thread = threading.Thread(target=wait, name=name)
    thread.start()
    return thread, took


def await_waits(*names: str) -> None:
    """Return when these threads wait for locks of the program."""
    missing = set(names)
    while missing:
        with Measured() as m:
            time.sleep(5e-3)
        missing -= {name for _, name, kinds in m.locks["threads"] if kinds["program"][0]}


class DisturbedError(AssertionError):
    """What an error of the core does, and a thread that gets no processor for a while."""


def assert_is(measured: float, known: float) -> None:
    """What is measured lies within what is known, which has the call around it."""
    assert measured <= known
    if known - measured > 0.1 * known + 10e-3:
        raise DisturbedError((measured, known))


def assert_short(waits: tuple[int, float, float]) -> None:
    """None of these waits is one that a test makes on purpose: these are 50 ms and longer."""
    if waits[2] > 0.045:
        raise DisturbedError(waits)


def tried_again(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test up to five times until it is not disturbed: an error would do so each time."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        for _ in range(4):
            try:
                return test(*arguments, **named)
            except DisturbedError:
                continue
        return test(*arguments, **named)

    return run


def test_up_to_3_12_and_where_it_is_not_asked_for_it_is_said_that_they_are_not_measured() -> None:
    if sys.version_info < (3, 13):
        assert REASON == "locks park since Python 3.13 only"
    window = Window(locks=False)
    window.begin()
    locks = window.end()["locks"]
    assert locks == "not asked for"


def test_they_are_measured_unasked_where_the_gil_is_off() -> None:
    window = Window()
    window.begin()
    locks = window.end()["locks"]
    if GIL_IS_ON:
        assert locks == "with the GIL, only if it is asked for: --gil-locks"
    else:
        assert locks == REASON or tuple(locks["kinds"]) == KINDS


@pytest.mark.skipif(
    sys.version_info < (3, 13) or not sys.platform.startswith("linux"), reason="not there"
)
def test_this_interpreter_is_proved() -> None:
    if sys.version_info[:2] == (3, 13) and "threading.Lock does not wait" in str(REASON):
        pytest.skip("the first releases of 3.13 have locks of another kind")
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("CPython's locks wait in another way with other C libraries")
    assert REASON is None


def waited_for(make: Callable[[], Any], then: Callable[[], object]) -> tuple[Measured, float]:
    """Wait for a lock in the thread "waiter", and do something once it is released.

    Returns what was measured, and how long (s) the thread was away.
    """
    lock = make()
    with Measured() as m:
        lock.acquire()
        thread, took = wait_for(lambda: lock.acquire() and lock.release())
        time.sleep(0.1)
        lock.release()
        then()
        thread.join()
    return m, took[0]


@measured_only
@tried_again
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_a_lock_of_the_program_is_waited_for_as_long_as_the_waiter_says(make: Any) -> None:
    m, took = waited_for(make, then=lambda: None)
    _, waited, longest = m.thread("waiter")["program"]
    assert_is(longest, took)
    assert m.waits("program")[1] >= waited >= longest
    for kind in KINDS:
        if kind != "program":
            assert_short(m.waits(kind))


@measured_only
@pytest.mark.skipif(not GIL_IS_ON, reason="there is no GIL to take back")
@tried_again
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_a_wait_for_a_lock_is_over_before_the_gil_is_taken_back(make: Any) -> None:
    m, took = waited_for(make, then=lambda: hold(0.1))
    longest = m.thread("waiter")["program"][2]
    if longest < 0.05 or longest > took - 0.09:
        raise DisturbedError((longest, took))


@contextmanager
def interrupted(handler: Callable[..., object], every: float) -> Iterator[None]:
    """Signals for this thread, the first after 20 ms; 0: no more."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02, every)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def waited_for_here(
    make: Callable[[], Any], take: Callable[[Any], object]
) -> tuple[Measured, float]:
    """Take a lock in this thread that another one keeps for 0.2 s.

    Returns what was measured, and how long (s) it took.
    """
    lock, kept = make(), threading.Event()

    def keep() -> None:
        with lock:
            kept.set()
            time.sleep(0.2)

    keeper = threading.Thread(target=keep)
    keeper.start()
    kept.wait()
    with Measured() as m:
        started = time.perf_counter()
        take(lock)
        took = time.perf_counter() - started
    keeper.join()
    return m, took


def waits_here(m: Measured) -> tuple[int, float, float]:
    """This thread's waits for locks of the program."""
    waits = {native_id: kinds["program"] for native_id, _, kinds in m.locks["threads"]}
    return waits.get(threading.get_native_id(), (0, 0.0, 0.0))


@measured_only
@tried_again
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_a_wait_that_signals_interrupt_is_one(make: Any) -> None:
    def take(lock: Any) -> None:
        with interrupted(lambda *_: None, every=0.02):
            lock.acquire()

    m, took = waited_for_here(make, take)
    count, waited, longest = waits_here(m)
    assert_is(longest, took)
    assert count == 1
    assert longest == waited


@measured_only
@tried_again
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_who_let_go_is_blamed_for_all_of_a_wait_that_signals_interrupt(make: Any) -> None:
    def take(lock: Any) -> None:
        with interrupted(lambda *_: None, every=0.04):
            lock.acquire()

    m, took = waited_for_here(make, take)
    rows = [*m.locks["victims"]["program"], *m.locks["blame"].get("program", ())]
    releases_are_seen = sys.version_info >= (3, 14) or make is threading.Lock
    assert len(rows) == (2 if releases_are_seen else 1)
    for _, _, _, waited, longest, waits in rows:
        assert waits == 1
        assert_is(longest, took)
        assert waited == pytest.approx(longest)


@measured_only
@tried_again
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_a_wait_that_a_signal_ends_is_not_part_of_the_next_one(make: Any) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    def take_twice(lock: Any) -> None:
        def take() -> None:
            with lock:
                pass

        with interrupted(interrupt, every=0), pytest.raises(Interrupted):
            take()
        take()

    m, took = waited_for_here(make, take_twice)
    count, waited, longest = waits_here(m)
    assert count == 2
    assert longest < waited <= took


@measured_only
@tried_again
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_a_lock_that_was_had_since_a_signal_is_waited_for_anew(make: Any) -> None:
    """The lock comes free while the handler runs: it is taken without another sleep, and let go."""
    lock, kept, wanted, kept_again = make(), *(threading.Event() for _ in range(3))

    def keep_twice() -> None:
        with lock:
            kept.set()
            time.sleep(0.025)
        wanted.wait()
        with lock:
            kept_again.set()
            time.sleep(0.05)

    def take() -> None:
        with lock:
            wanted.set()
            spin(5e-3)

    keeper = threading.Thread(target=keep_twice)
    keeper.start()
    kept.wait()
    with Measured() as m, interrupted(lambda *_: spin(0.015), every=0):
        for _ in range(2):
            take()
            kept_again.wait()
    keeper.join()
    count, _, longest = waits_here(m)
    if count != 2:
        raise DisturbedError((count, longest))


@measured_only
@tried_again
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_an_attempt_that_gave_up_after_a_signal_is_not_part_of_the_next_one(make: Any) -> None:
    attempts = []

    def poll(lock: Any) -> None:
        until = time.perf_counter() + 0.15
        with interrupted(lambda *_: spin(5e-3), every=0.013):
            while time.perf_counter() < until:
                started = time.perf_counter()
                assert not lock.acquire(timeout=0.01)
                attempts.append(time.perf_counter() - started)

    m, took = waited_for_here(make, poll)
    _, waited, longest = waits_here(m)
    assert longest <= max(attempts)
    assert waited <= took


@measured_only
@tried_again
def test_a_window_that_opens_while_a_thread_waits_has_its_part() -> None:
    lock = threading.Lock()
    with Measured() as outer:
        lock.acquire()
        thread, took = wait_for(lambda: lock.acquire())
        await_waits("waiter")
        time.sleep(0.1)
        with Measured() as m:
            time.sleep(0.05)
            halfway = waits_of(m.window.peek()["locks"], "waiter")["program"]
            lock.release()
            thread.join()
    inner, whole = m.thread("waiter")["program"], outer.thread("waiter")["program"]
    assert halfway[0] == inner[0] == 1
    assert 0.05 <= halfway[1] <= inner[1]
    assert inner[2] <= whole[2] - 0.1
    assert_is(whole[2], took[0])


@measured_only
def test_more_threads_than_there_is_room_for_are_not_measured_and_those_after_them_are() -> None:
    lock = threading.Lock()

    def take() -> None:
        with lock:
            pass

    with Measured() as m, lock:
        threads = [threading.Thread(target=take) for _ in range(600)]
        for thread in threads:
            thread.start()
        for _ in range(1000):
            if isinstance(m.window.peek()["locks"], str):
                break
            time.sleep(10e-3)
    for thread in threads:
        thread.join()
    assert m.locks == "more than 512 threads were there at once that had waited"
    with Measured() as m:
        lock.acquire()
        assert not lock.acquire(timeout=0.05)
    assert m.waits("program")[0] == 1


@measured_only
@tried_again
def test_an_attempt_that_times_out_has_waited() -> None:
    lock = threading.Lock()
    lock.acquire()
    with Measured() as m:
        started = time.perf_counter()
        assert not lock.acquire(timeout=0.05)
        took = time.perf_counter() - started
    count, waited, _ = m.thread(threading.current_thread().name)["program"]
    assert count == 1
    assert_is(waited, took)


@measured_only
@tried_again
def test_intended_sleep_is_no_wait_for_a_lock() -> None:
    event, condition, jobs = threading.Event(), threading.Condition(), queue.Queue[int]()
    simple: queue.SimpleQueue[int] = queue.SimpleQueue()
    barrier, semaphore = threading.Barrier(2), threading.Semaphore(0)

    def wait_in_condition(seconds: float | None) -> None:
        with condition:
            condition.wait(seconds)

    sleepers: list[Callable[[], object]] = [
        event.wait,
        lambda: event.wait(0.05),
        lambda: wait_in_condition(0.05),
        lambda: wait_in_condition(None),
        jobs.get,
        simple.get,
        lambda: simple.get(timeout=10),
        barrier.wait,
        semaphore.acquire,
        lambda: time.sleep(0.05),
    ]
    with Measured() as m, ThreadPoolExecutor(1) as pool:
        future = pool.submit(time.sleep, 0.05)
        threads = [wait_for(sleeper)[0] for sleeper in sleepers]
        time.sleep(0.1)
        event.set()
        with condition:
            condition.notify_all()
        jobs.put(1)
        simple.put(1)
        simple.put(2)
        barrier.wait()
        semaphore.release()
        for thread in threads:
            thread.join()
        future.result()
    for kind in KINDS:
        assert_short(m.waits(kind))


@measured_only
@tried_again
def test_intended_sleep_in_another_interpreter_is_no_wait_for_a_lock() -> None:
    """Its locks are of another type than those of this one."""
    interpreters = importlib.import_module("_interpreters")
    code = """if True:
        import queue, threading, time

        threading.Event().wait(0.1)
        jobs = queue.Queue()
        thread = threading.Thread(target=jobs.get)
        thread.start()
        time.sleep(0.1)
        jobs.put(1)
        thread.join()
        {lock}
    """
    wait = "lock = threading.Lock(); lock.acquire(); lock.acquire(timeout=0.1)"
    for lock, unproven in (("", 0), (wait, 1)):
        other = interpreters.create("legacy")
        with Measured() as m:
            assert interpreters.run_string(other, code.format(lock=lock)) is None
        interpreters.destroy(other)
        if unproven:
            assert m.waits("unproven")[2] >= 0.09
        else:
            assert_short(m.waits("unproven"))
        assert_short(m.waits("program"))


@measured_only
def test_an_item_that_is_there_before_its_taker_sleeps_is_waited_for_as_any_other() -> None:
    """The taker then finds an object where others have a moment of the clock, hours ago."""
    if id(object()) > time.monotonic_ns():
        pytest.skip("no address is a moment that has passed: the machine has not run for so long")
    requests: list[queue.SimpleQueue[object]] = [queue.SimpleQueue() for _ in range(8)]
    answers: list[queue.SimpleQueue[object]] = [queue.SimpleQueue() for _ in requests]

    def answer(ours: queue.SimpleQueue[object], theirs: queue.SimpleQueue[object]) -> None:
        while (one := ours.get()) is not None:
            theirs.put(one)

    threads = [
        threading.Thread(target=answer, args=pair) for pair in zip(requests, answers, strict=True)
    ]
    for thread in threads:
        thread.start()
    whole = 0.03  # such a wait seems to have lasted for all of the window
    longest = []
    for _ in range(100):
        with Measured() as m:
            time.sleep(whole)
            for _ in range(60):
                for one in requests:
                    one.put(object())
                for one in answers:
                    one.get()
        longest.append(m.waits("interpreter")[2])
    for one in requests:
        one.put(None)
    for thread in threads:
        thread.join()
    assert max(longest) < whole


@measured_only
def test_a_module_that_is_imported_in_the_window_sleeps_as_any_other() -> None:
    """Windows do not import `threading`, nor need it to be imported before."""
    code = """if True:
        import sys, _thread
        from pytest_gilknock._core import Window

        assert "threading" not in sys.modules
        window = Window(locks=True)
        window.begin()
        assert "threading" not in sys.modules
        import threading, time

        condition, lock = threading.Condition(), _thread.allocate_lock()

        def sleep():
            with condition:
                condition.wait(0.2)

        class Other:
            def wait(self):
                waiter = lock
                waiter.acquire(True, 0.1)

        sleep()
        program = window.peek()["locks"]["kinds"]["program"]
        assert program == (0, 0.0, 0.0), program
        lock.acquire()
        Other().wait()
        count, waited, longest = window.end()["locks"]["kinds"]["program"]
        assert count == 1 and longest > 0.09, (count, waited, longest)
    """
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@measured_only
@tried_again
def test_a_mutex_of_c_code_counts_as_one_of_the_interpreter() -> None:
    mutex = ctypes.create_string_buffer(64)
    lock, unlock = ctypes.pythonapi.PyMutex_Lock, ctypes.pythonapi.PyMutex_Unlock
    with Measured() as m:
        lock(mutex)
        thread, took = wait_for(lambda: lock(mutex))
        time.sleep(0.05)
        unlock(mutex)
        thread.join()
    unlock(mutex)
    waits, _, longest = m.thread("waiter")["interpreter"]
    if waits == 0:
        raise DisturbedError("the waiter came when the mutex was free again")
    assert_is(longest, took[0])
    assert_short(m.thread("waiter")["program"])


def thread_lock() -> ctypes.c_void_p:
    """A lock of C code, which is free."""
    allocate = ctypes.pythonapi.PyThread_allocate_lock
    allocate.restype = ctypes.c_void_p
    return ctypes.c_void_p(allocate())


OF_C_CODE = "program" if sys.version_info < (3, 15) else "interpreter"
"""What a lock of C code counts as: from 3.15 on, it is a mutex as those of the interpreter are."""

WAYS_TO_TAKE = (
    pytest.param("PyThread_acquire_lock", (1,), id="PyThread_acquire_lock"),
    pytest.param(
        "PyThread_acquire_lock_timed",
        (ctypes.c_longlong(-1), 0),
        id="PyThread_acquire_lock_timed",
    ),
)


@measured_only
@tried_again
@pytest.mark.parametrize(("function", "arguments"), WAYS_TO_TAKE)
def test_a_lock_of_c_code_is_waited_for_by_each_function(function: str, arguments: Any) -> None:
    library, lock = ctypes.CDLL(None), thread_lock()
    take = getattr(library, function)
    with Measured() as m:
        take(lock, *arguments)
        thread, took = wait_for(lambda: take(lock, *arguments))
        time.sleep(0.05)
        library.PyThread_release_lock(lock)
        thread.join()
    assert_is(m.thread("waiter")[OF_C_CODE][2], took[0])


@measured_only
@pytest.mark.parametrize(("function", "arguments"), WAYS_TO_TAKE)
def test_a_lock_of_c_code_that_is_free_is_not_waited_for(function: str, arguments: Any) -> None:
    library, lock = ctypes.CDLL(None), thread_lock()
    take = getattr(library, function)
    with Measured() as m:
        for _ in range(5):
            take(lock, *arguments)
            library.PyThread_release_lock(lock)
    assert m.thread(threading.current_thread().name)[OF_C_CODE] == (0, 0.0, 0.0)


@measured_only
@tried_again
def test_a_file_that_another_thread_reads_is_waited_for() -> None:
    """Its lock is one of C code that is taken from inside the interpreter."""
    reading, writing = os.pipe()
    with open(reading, "rb") as file, Measured() as m:
        first, _ = wait_for(lambda: file.read(1), "first")
        time.sleep(0.01)
        second, took = wait_for(lambda: file.read(1), "second")
        time.sleep(0.05)
        os.write(writing, b"xy")
        os.close(writing)
        first.join()
        second.join()
    assert_is(m.thread("second")[OF_C_CODE][2], took[0])


@measured_only
@without_gil
@tried_again
def test_an_object_in_a_critical_section_is_waited_for_and_its_type_is_known() -> None:
    class Key:
        def __init__(self, kept: float) -> None:
            self.kept = kept

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: Any) -> bool:
            hold(max(self.kept, other.kept))  # attached: the critical section stays entered
            return False

    class OfLongName(dict[Any, Any]):
        pass

    OfLongName.__name__ = "D" * 200
    cut_off = "D" * 79
    for kind, keep, take in (
        ("dict", lambda d: d.__setitem__(Key(0.1), 1), lambda d: d.__setitem__("a", 1)),
        (cut_off, lambda d: d.__setitem__(Key(0.1), 1), lambda d: d.__setitem__("a", 1)),
        ("set", lambda s: s.add(Key(0.1)), lambda s: s.add("a")),
        ("list", lambda o: o.sort(key=lambda _: hold(0.1)), lambda o: o.append(1)),
    ):
        for _ in range(10):  # on a busy machine the waiter may come too late to wait
            contended: Any = {
                "dict": {Key(0): 0},
                cut_off: OfLongName({Key(0): 0}),
                "set": {Key(0)},
                "list": [1],
            }[kind]
            with Measured() as m:
                keeper, _ = wait_for(lambda: keep(contended), "keeper")  # noqa: B023
                time.sleep(0.015)
                waiter, took = wait_for(lambda: take(contended))  # noqa: B023
                keeper.join()
                waiter.join()
            count, _, longest = m.thread("waiter")["objects"]
            if longest >= 0.05:
                break
        assert count >= 1, (kind, m.locks)
        assert_is(longest, took[0])
        of_type = dict(m.locks["types"])
        assert of_type[kind][1] >= 0.95 * m.waits("objects")[1]


@measured_only
@without_gil
def test_six_threads_on_a_dict_a_list_and_a_set_name_their_types() -> None:
    shared: tuple[list[int], dict[int, int], set[int]] = [], {}, set()

    def work() -> None:
        numbers, table, some = shared  # names of its own: a closure's cells have locks, too
        until = time.perf_counter() + 0.5
        while time.perf_counter() < until:
            for i in range(200):
                numbers.append(i)
                table[i] = i
                some.add(i)
            if len(numbers) > 5000:
                numbers.clear()

    with Measured() as m:
        in_threads(6, work)
    _, waited, _ = m.waits("objects")
    named = {name: sums[1] for name, sums in m.locks["types"]}
    assert set(named) <= {"list", "dict", "set"} | {None}
    assert sum(named.get(name, 0.0) for name in ("list", "dict", "set")) >= 0.95 * waited
    assert m.waits("unproven")[1] <= 0.05 * waited


@measured_only
@without_gil
def test_types_that_have_no_room_are_told_as_none() -> None:
    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            hold(0.02)
            return False

    def wait_for_each() -> None:
        for i in range(12):
            of_own_type = type(f"Table{i}", (dict,), {})({Key(): 0})
            keeper, _ = wait_for(lambda: of_own_type.__setitem__(Key(), 1), "keeper")  # noqa: B023
            time.sleep(5e-3)
            of_own_type["a"] = 1
            keeper.join()

    for _ in range(10):  # on a busy machine the waiter may come too late to wait
        with Measured() as m:
            in_threads(1, wait_for_each)
        count, waited, _ = m.waits("objects")
        types = dict(m.locks["types"])
        if None in types:
            break
    assert types[None][0] >= 1
    assert sum(sums[0] for sums in types.values()) == count
    assert sum(sums[1] for sums in types.values()) == pytest.approx(waited)


@measured_only
@without_gil
def test_a_thread_that_nobody_keeps_waits_for_no_object() -> None:
    """It enters the critical section of a file twice: the second time, the interpreter has it wake
    itself.
    """
    with Measured() as m:
        for _ in range(20):
            with open(__file__, "rb") as file:
                file.read()
    assert m.thread(threading.current_thread().name)["objects"] == (0, 0.0, 0.0)


class Runner:
    """A thread that runs on and notes for how long it did not: its gaps."""

    def __enter__(self) -> Runner:
        self.gaps: list[float] = []
        self._runs = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runner")
        self._thread.start()
        self.native_id = self._thread.native_id
        while not self._runs:
            time.sleep(1e-3)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        before, over = time.perf_counter(), False
        self._runs = True
        while not over:
            over = self._stop.is_set()
            now = time.perf_counter()
            if now - before > 1e-3:
                self.gaps.append(now - before)
            before = now

    def knows(self, longest: float) -> bool:
        """Whether one of its gaps is a pause of that length, and little else. Where it had to wait
        for a processor before it could be stopped, a gap is longer than the pause in it."""
        assert longest <= max([1e-3, *self.gaps])
        return any(longest <= gap and gap - longest < 0.3 * gap + 20e-3 for gap in self.gaps)


@measured_only
@without_gil
def test_a_thread_that_is_stopped_by_a_collection_has_waited_for_the_world() -> None:
    """On a busy machine one of some attempts must show it."""
    many = [[i] for i in range(300_000)]
    seen = []
    for _ in range(10):
        with Measured() as m, Runner() as runner:
            for _ in range(3):
                gc.collect()
                spin(0.01)  # the runner goes on, so that each pause has a gap of its own
        count, _, longest = m.thread("runner")["stop_the_world"]
        seen.append((count, longest, runner.gaps))
        if count >= 3 and runner.knows(longest):
            break
    else:
        pytest.fail(str(seen))
    assert len(many) == 300_000


@contextmanager
def signals_to(whom: str) -> Iterator[None]:
    """Signals every 5 ms for this thread, or for those that began before, but for others not."""
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM} if whom == "runner" else ())
    with interrupted(lambda *_: None, every=0.005 if whom != "nobody" else 0.0):
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)


@measured_only
@without_gil
@pytest.mark.parametrize("interrupts", ["nobody", "this thread", "runner"])
def test_a_world_that_cannot_be_stopped_is_waited_for_by_all_that_are(interrupts: str) -> None:
    """One thread stays in C for a known time, a second one wants to collect, and a third one runs
    on and is stopped at once, until the first one comes back; signals do not make many waits of
    one. On a busy machine they may begin in another order: one of some attempts must show it.
    """
    seen = []
    for _ in range(10):
        began: list[float] = []

        def keep() -> None:
            began.append(time.perf_counter())  # noqa: B023
            hold(0.1)

        with Measured() as m, Runner() as runner, signals_to(interrupts):
            keeper = threading.Thread(target=keep, name="keeper")
            keeper.start()
            time.sleep(0.005)
            started = time.perf_counter()
            gc.collect()
            took = time.perf_counter() - started
            keeper.join()
        known = began[0] + 0.1 - started  # it comes back no earlier
        _, _, stopper = m.thread(threading.current_thread().name)["interpreter"]
        _, _, stopped = m.thread("runner")["stop_the_world"]
        seen.append((known, stopper, stopped, took, runner.gaps))
        if (
            known > 0.03
            and 0.8 * known <= stopper <= took
            and 0.8 * known <= stopped
            and runner.knows(stopped)
        ):
            return
    pytest.fail(str(seen))


def place(stack: Any) -> tuple[str, int, str]:
    file, line, function, _ = stack[0]
    return file, line, function


def row_of(rows: Any, where: tuple[str, int, str]) -> Any:
    (row,) = (row for row in rows if place(row[0]) == where)
    return row


@measured_only
def test_who_waited_for_a_lock_and_who_let_it_go_are_told_with_their_lines() -> None:
    lock = threading.Lock()

    def take() -> None:
        lock.acquire()

    with Measured() as m:
        lock.acquire()
        thread, _ = wait_for(take)
        await_waits("waiter")
        time.sleep(0.05)
        lock.release()
        thread.join()
    line = take.__code__.co_firstlineno + 1
    name = "test_who_waited_for_a_lock_and_who_let_it_go_are_told_with_their_lines"
    victim = row_of(m.locks["victims"]["program"], (__file__, line, take.__qualname__))
    blamed = row_of(m.locks["blame"]["program"], (__file__, line + 7, name))
    assert (victim[1], blamed[1]) == (thread.native_id, threading.get_native_id())
    assert victim[3] == blamed[3]
    assert victim[3] == pytest.approx(m.thread("waiter")["program"][2], rel=0.2)
    waited, began, is_knock, native_id, _, stack, holder_stack, holder, _ = m.locks["longest"][
        "program"
    ]
    assert waited == m.waits("program")[2]
    assert began >= 0.0
    assert not is_knock
    assert (native_id, holder) == (thread.native_id, threading.get_native_id())
    assert (stack, holder_stack) == (victim[0], blamed[0])
    assert m.locks["latency"]["program"][0] >= 1
    assert m.locks["latency"]["program"][4] == waited
    assert m.locks["places_reason"] is None


@measured_only
def test_who_lets_go_without_ever_waiting_and_ends_has_a_name() -> None:
    lock, is_taken = threading.Lock(), threading.Event()

    def give() -> None:
        lock.acquire()
        is_taken.set()
        time.sleep(0.05)
        lock.release()

    with Measured() as m:
        giver = threading.Thread(target=give, name="giver")
        giver.start()
        is_taken.wait()
        lock.acquire()
        giver.join()
    line = give.__code__.co_firstlineno + 4
    blamed = row_of(m.locks["blame"]["program"], (__file__, line, give.__qualname__))
    assert (blamed[1], blamed[2]) == (giver.native_id, "giver")
    assert m.locks["longest"]["program"][7:] == (giver.native_id, "giver")


@measured_only
def test_a_wait_that_goes_on_as_the_window_ends_is_charged_to_no_place() -> None:
    over, open_still = threading.Lock(), threading.Lock()
    over.acquire()
    open_still.acquire()
    late, _ = wait_for(open_still.acquire, name="late")
    await_waits("late")
    with Measured() as m:
        thread, _ = wait_for(over.acquire)
        await_waits("waiter")
        over.release()
        thread.join()
    open_still.release()
    late.join()
    victims = m.locks["victims"]["program"]
    known = m.waits("program")[1] - m.thread("late")["program"][1]
    assert thread.native_id in {row[1] for row in victims}
    assert late.native_id not in {row[1] for row in victims}
    assert sum(row[3] for row in victims) == pytest.approx(known)
    assert m.thread("late")["program"][1] > 0.0


def locks_waited_for_on_lines(count: int) -> Any:
    """Wait 10 ms for a lock of the program on each of so many lines of a file, from 2 on."""
    lock = threading.Lock()
    source = "def take():\n" + count * "    lock.acquire(timeout=0.01)\n"
    program: dict[str, Any] = {"lock": lock}
    exec(compile(source, "many_lines.py", "exec"), program)
    with lock, Measured() as m:
        program["take"]()
    return m.locks


def lines_told(locks: Any) -> set[int]:
    places = [place(row[0]) for row in locks["victims"]["program"]]
    return {line for file, line, _ in places if file == "many_lines.py"}


@measured_only
def test_all_places_that_a_window_knows_are_told() -> None:
    locks = locks_waited_for_on_lines(140)
    assert lines_told(locks) == set(range(2, 142))
    assert locks["victims_omitted"] == locks["blame_omitted"] == 0.0


@measured_only
@tried_again
def test_what_was_waited_at_places_that_had_no_room_is_told() -> None:
    locks = locks_waited_for_on_lines(300)
    told, known = len(lines_told(locks)), locks["kinds"]["program"][1]
    shown = sum(row[3] for row in locks["victims"]["program"])
    assert 150 < told <= 256
    if locks["victims_omitted"] != pytest.approx((300 - told) * 0.01, rel=0.25):
        raise DisturbedError((locks["victims_omitted"], told))
    assert shown + locks["victims_omitted"] == pytest.approx(known, rel=0.01)


@measured_only
@without_gil
def test_the_line_that_collects_is_blamed_for_the_stopped_world() -> None:
    many = [[i] for i in range(200_000)]

    def collect() -> None:
        gc.collect()

    with Measured() as m, Runner() as runner:
        for _ in range(3):
            collect()
    line = collect.__code__.co_firstlineno + 1
    blamed = m.locks["blame"]["stop_the_world"]
    assert {place(row[0]) for row in blamed} == {(__file__, line, collect.__qualname__)}
    victims = m.locks["victims"]["stop_the_world"]
    own = [row for row in victims if row[1] == runner.native_id]
    assert own
    assert {row[0][0][0] for row in own} <= {__file__, threading.__file__}
    # Another thread of this process may still wait: it was woken and has not got a processor yet.
    waited, charged = m.waits("stop_the_world")[1], sum(row[3] for row in victims)
    others = waited - m.thread("runner")["stop_the_world"][1]
    assert waited - others - 0.01 * waited <= charged <= 1.01 * waited, m.locks
    assert len(many) == 200_000


@measured_only
@without_gil
def test_an_attempt_that_ends_without_sleep_counts_its_spins() -> None:
    lock = threading.Lock()
    with Measured() as m:
        lock.acquire()
        thread, _ = wait_for(lock.acquire)
        await_waits("waiter")
        lock.release()
        thread.join()
    assert m.locks["spins"] >= 10


@measured_only
def test_each_thread_has_its_own_waits_and_windows_in_many_threads_do_not_disturb() -> None:
    lock, all_here = threading.Lock(), threading.Barrier(5)

    def work() -> None:
        all_here.wait(60)
        for _ in range(20):
            with Measured() as m, lock:
                time.sleep(1e-3)
            assert m.waits("program")[1] >= m.waits("program")[2]

    with Measured() as outer:
        threads = in_threads(5, work)
    names = {name for _, name, kinds in outer.locks["threads"] if kinds["program"][0]}
    own = {thread.name for thread in threads}
    assert len(names & own) >= 2
    # Who starts and joins threads may wait for the locks of `threading` itself.
    assert names - own <= {thread.name for thread in threading.enumerate()}
    total = sum(kinds["program"][1] for _, _, kinds in outer.locks["threads"])
    assert total == pytest.approx(outer.waits("program")[1])
    assert outer.waits("program")[1] > 0.05
