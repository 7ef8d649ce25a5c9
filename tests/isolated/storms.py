"""Everything at once: what each of the other scripts tries by itself, in one process, at random.

The count is that of the windows, or of the seconds that the storm lasts.
"""

from __future__ import annotations

import gc
import itertools
import random
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import scripting
from forks import ends_well, in_child
from loads import hold, let_go, mix, spin
from scripting import case, checked, checked_threads, nothing_is_open, opened

from pytest_gilknock import _core

WORKERS = 3  # threads that open windows
MOST_OPEN = 6  # windows of a thread

# Not the module's own: Python seeds that one in a forked child. Without the GIL another thread may
# draw from it at the fork, and the child waits for its lock for ever.
CHANCE = random.Random()


class Storm:
    """Runs until ``is_over`` says so or something fails; then raises the first failure."""

    def __init__(self, is_over: Callable[[], bool], *, forks: bool) -> None:
        self._is_over = is_over
        self._forks = forks
        self._failures: list[BaseException] = []
        self._numbers = itertools.count(1)
        self.windows = 0  # ended so far

    def goes_on(self) -> bool:
        return not self._failures and not self._is_over()

    def run(self) -> None:
        parts = [self.open_windows] * WORKERS
        parts += [self.begin_threads, self.drop_code, self.knock, self.collect, self.change_pace]
        if self._forks:
            parts.append(self.fork)
        threads = [threading.Thread(target=self._part, args=(part,)) for part in parts]
        signal.signal(signal.SIGALRM, self._alarm)
        signal.setitimer(signal.ITIMER_REAL, 2e-3)
        around = opened(), opened(method="sampled")
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self._attempt(self.step, [])
        signal.setitimer(signal.ITIMER_REAL, 0)
        for thread in threads:
            thread.join()
        for window in around:
            self._attempt(self.end, window)
        if self._failures:
            raise self._failures[0]

    def _alarm(self, *_: object) -> None:
        self.end(opened(threads=False))
        if self.goes_on():  # only now: where all is slow, an alarm would come into the one before
            signal.setitimer(signal.ITIMER_REAL, 2e-3)

    def _part(self, part: Callable[[], None]) -> None:
        while self.goes_on():
            self._attempt(part)

    def _attempt(self, action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except BaseException as failure:
            self._failures.append(failure)

    def end(self, window: _core.Window) -> None:
        checked(window.end())
        self.windows = next(self._numbers)

    # --- what goes on, each in a thread of its own ---

    def open_windows(self) -> None:
        """Windows nest and overlap; they end in any order."""
        mine: list[_core.Window] = []
        for _ in range(50):
            self.step(mine)
        for window in mine:
            self.end(window)

    def step(self, mine: list[_core.Window]) -> None:
        if len(mine) > CHANCE.randrange(MOST_OPEN):
            window = mine.pop(CHANCE.randrange(len(mine)))
            if CHANCE.random() < 0.2:
                checked_threads(window.peek())
            self.end(window)
        else:
            mine.append(opened(method=CHANCE.choice(("auto", "auto", "sampled"))))
        work = CHANCE.choice((int, int, int, lambda: let_go(1e-5), lambda: spin(5e-5), mix))
        work()

    def begin_threads(self) -> None:
        """They are gone at once, and end the windows that others have opened."""
        windows = [opened() for _ in range(3)]
        names = ("plain", "\ud800", "n" * 100, "")
        threads = [
            threading.Thread(target=self._attempt, args=(self.end, window), name=name)
            for window, name in zip(windows, CHANCE.sample(names, 3), strict=True)
        ]
        for thread in threads:
            thread.start()
        hold(1e-5)
        for thread in threads:
            thread.join()

    def drop_code(self) -> None:
        """Code that is blamed dies; its callbacks open windows."""

        def dead(_: object) -> None:
            self._attempt(self.call_back)
            let_go(1e-5)

        references = []
        for i in range(20):
            names: dict[str, Any] = {}
            text = "\n" * i + "def work(now, until):\n while now() < until: pass"
            exec(compile(text, "dies", "exec"), names)
            work = names.pop("work")
            references.append(weakref.ref(work.__code__, dead))
            work(time.monotonic, time.monotonic() + 2e-4)
            del work

    def call_back(self) -> None:
        thread = threading.current_thread()
        assert not isinstance(thread, threading._DummyThread), "this is no thread of the program"
        self.end(opened())

    def knock(self) -> None:
        """Knockers of the other interface."""
        knockers = [_core.Knocker(CHANCE.choice((0, 50, 500)), 1000, 500) for _ in range(2)]
        for knocker in knockers:
            knocker.start()
        let_go(CHANCE.uniform(0, 5e-3))
        for knocker in knockers:
            waited, sampled = knocker.times()
            assert 0 <= waited <= sampled * (1 + 1e-6) + 1e-3, (waited, sampled)
            knocker.reset()
        knockers[0].stop()

    def collect(self) -> None:
        """Garbage whose finalizers open windows."""

        class Finalized:
            def __init__(self) -> None:
                self.itself = self

            def __del__(_) -> None:
                self._attempt(self.end, opened())

        for _ in range(5):
            Finalized()
        gc.collect()
        let_go(1e-3)

    def change_pace(self) -> None:
        _core.set_knock_interval(CHANCE.choice((1e-4, 1e-3, 1e-2)))
        sys.setswitchinterval(CHANCE.choice((1e-6, 1e-4, 5e-3)))
        let_go(5e-3)

    def fork(self) -> None:
        inherited = opened()

        def work() -> None:
            checked(inherited.peek())
            for _ in range(5):
                window = opened()
                mix()
                checked_threads(window.end())
            checked(inherited.end())

        ends_well(in_child(work))
        self.end(inherited)
        let_go(2e-2)


def rages(is_over: Callable[[Storm], bool], *, forks: bool) -> None:
    storm = Storm(lambda: is_over(storm), forks=forks)
    storm.run()
    print(f"{storm.windows} windows")
    gc.collect()
    sys.setswitchinterval(5e-3)
    nothing_is_open()


def for_seconds(seconds: float) -> Callable[[Storm], bool]:
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() > end


@case(usual=500, nightly=1_000_000)
def windows(count: int) -> None:
    rages(lambda storm: storm.windows >= count, forks=True)


@case(usual=500, nightly=1_000_000)
def windows_without_forks(count: int) -> None:
    rages(lambda storm: storm.windows >= count, forks=False)


@case(usual=2, nightly=3600)
def seconds(count: int) -> None:
    rages(for_seconds(count), forks=True)


@case(usual=2, nightly=3600)
def seconds_without_forks(count: int) -> None:
    rages(for_seconds(count), forks=False)


if __name__ == "__main__":
    scripting.main()
