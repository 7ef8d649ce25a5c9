"""What does measuring cost the program that is measured?

Question: how much slower are releasing and taking the GIL, and ordinary work, while a window is
open?

Method: every instrument has a process of its own, so that "nothing" is a process in which
nothing was ever patched. The processes do the same work in turn, in an order that moves on by
one each time; every round starts new ones, so that where the loader happens to put things
averages out. The first table shows medians of the time for one operation, the second the median
over the rounds of the ratio to "nothing" in the same round.

Truth: the clock around a fixed number of operations; only one of the processes is at work at a
time.

Two processes that do the same differ by some percent, which hides what the knocks cost a thread
that computes. So the last table compares within a process: a loop in a window with the loops before
and after it.

``closed`` is our core after its last window was closed: redirected, but not measuring. ``traced``
is ``exact`` with every hold and wait recorded.

A program gets slower with its first thread, whoever starts it: the C library no longer locks
without atomic instructions, the kernel counts references to files. The knocking thread can be
that first one; the rows marked "alone" tell what this costs. In all others the program has a
second, idle thread.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from statistics import median
from subprocess import PIPE, Popen

import harness
import instruments
from harness import Table, span

VOLLEY_LINE_UP_NS = 3_000
"""How long a side of the ping-pong holds the GIL, for the other to stand in line."""
LIMIT = 60.0
"""Seconds that one process may take for one piece of work."""
ECHO_SIZE = 64


def pair(count: int) -> None:
    """Release and take the GIL; nobody else wants it."""
    from loads import native

    native.pairs(count)


def ping_pong(count: int) -> None:
    """Hand the GIL from one thread to another, which waits for it."""
    from loads import native

    sides = [
        threading.Thread(target=native.volley, args=(side, count // 2, VOLLEY_LINE_UP_NS))
        for side in (0, 1)
    ]
    for thread in sides:
        thread.start()
    for thread in sides:
        thread.join()


def python_loop(count: int) -> None:
    """Arithmetic in bytecode."""
    total = 0
    for number in range(count):
        total += number & 7


def small_writes(count: int) -> None:
    """Unbuffered writes of one byte, each of which lets go of the GIL."""
    with open(os.devnull, "wb", buffering=0) as sink:
        write = sink.write
        for _ in range(count):
            write(b"x")


def thread_pool(count: int) -> None:
    """Small tasks through four threads."""
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(abs, number) for number in range(count)]:
            future.result()


def echo(count: int) -> None:
    """Round trips through asyncio streams on the loopback."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while message := await reader.read(ECHO_SIZE):
            writer.write(message)
            await writer.drain()
        writer.close()

    async def trips() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        message = b"." * ECHO_SIZE
        for _ in range(count):
            writer.write(message)
            await reader.readexactly(ECHO_SIZE)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    asyncio.run(trips())


PAIR = "release/take pair"
LOOP = "pure-Python loop"
WORKS: dict[str, tuple[Callable[[int], None], int, str]] = {
    "pair, alone": (pair, 5_000_000, "pair"),
    "1-byte writes, alone": (small_writes, 400_000, "write"),
    PAIR: (pair, 5_000_000, "pair"),
    "ping-pong": (ping_pong, 8_000, "hand-over"),
    LOOP: (python_loop, 8_000_000, "iteration"),
    "1-byte writes": (small_writes, 400_000, "write"),
    "thread pool": (thread_pool, 6_000, "task"),
    "asyncio echo": (echo, 2_000, "round trip"),
}
ALONE = ", alone"
QUICK_SHARE = 0.2

NOTHING = "nothing"
CLOSED = "closed"
TRACED = "traced"


def probe_of(name: str) -> instruments.Probe:
    """What goes on around the work: an instrument, or nothing."""
    if name == TRACED:
        return instruments.traced()
    if name in (NOTHING, CLOSED):
        return instruments.Probe(lambda: None, lambda: None, lambda _: instruments.Seen(None))
    return instruments.by_name(name).make()


def timed(do: Callable[[int], None], count: int) -> int:
    """What doing something so many times takes, in ns."""
    start = time.perf_counter_ns()
    do(count)
    return time.perf_counter_ns() - start


def alternate(name: str, rounds: int) -> None:
    """The child's part: answer with the ratios of loops under the instrument to those around."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    loop, usual, _ = WORKS[LOOP]
    count = 2 * usual  # knocks come more often in the first 50 ms of a window
    ratios = []
    for _ in range(rounds):
        before = timed(loop, count)
        probe = probe_of(name)
        probe.begin()
        during = timed(loop, count)
        probe.end()
        ratios.append(2 * during / (before + timed(loop, count)))
    harness.reply(ratios)


def work(name: str) -> None:
    """The child's part: do what each line of input names, answer with ns for one operation."""
    if name == CLOSED:
        used = instruments.EXACT.make()
        used.begin()
        used.end()
    company = threading.Thread(target=threading.Event().wait, daemon=True)
    for line in sys.stdin:
        what, _, count = line.rpartition(" ")
        do = WORKS[what][0]
        if not what.endswith(ALONE) and not company.is_alive():
            company.start()
        do(int(count) // 20)
        probe = probe_of(name)
        probe.begin()
        took = timed(do, int(count))
        probe.end()
        harness.reply(took / int(count))


@contextmanager
def worker(name: str) -> Iterator[Popen[str]]:
    """A child that works under the instrument of that name."""
    command = [sys.executable, __file__, "--under", name]
    with harness.child(command, stdin=PIPE, stdout=PIPE) as process:
        watch = threading.Timer(LIMIT * len(WORKS), process.kill)
        watch.daemon = True
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()


def request(process: Popen[str], what: str, count: int) -> float:
    """Have the child do the work once; ns for one operation."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(f"{what} {count}\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"the process that does {what} has died or hangs")
    return float(answer)


Times = dict[str, dict[str, list[float]]]


def collect(names: list[str], rounds: int, share: float) -> Times:
    """ns for one operation: by work, by instrument, one for each round."""
    times: Times = {what: {name: [] for name in names} for what in WORKS}
    for at in range(rounds):
        with ExitStack() as stack:
            processes = {name: stack.enter_context(worker(name)) for name in names}
            for turn, (what, (_, count, _)) in enumerate(WORKS.items()):
                shift = (at + turn) % len(names)
                for name in names[shift:] + names[:shift]:
                    harness.progress(f"round {at + 1} of {rounds}: {what}, {name}")
                    took = request(processes[name], what, round(count * share))
                    times[what][name].append(took)
    return times


def alternated(name: str, rounds: int) -> list[float]:
    """Ratios of loops under an instrument to those around them, in one process."""
    harness.progress(f"{LOOP}, {name}")
    command = [sys.executable, __file__, "--alternate", name, "--rounds", str(rounds)]
    ratios: list[float] = harness.ask(command, LIMIT)
    return ratios


def ratios(times: dict[str, list[float]], name: str) -> float:
    """Median of the ratios to nothing, round by round."""
    paired = zip(times[name], times[NOTHING], strict=True)
    return median(took / bare for took, bare in paired)


def main() -> int:
    """Run the program."""
    parser = harness.parser(__doc__)
    parser.add_argument("--under", help=argparse.SUPPRESS)
    parser.add_argument("--alternate", help=argparse.SUPPRESS)
    options = harness.start(parser)
    if options.under is not None:
        work(options.under)
        return 0
    if options.alternate is not None:
        alternate(options.alternate, options.rounds)
        return 0
    line = harness.machine_line()
    inside = [one.name for one in instruments.here() if not one.outside]
    names = [NOTHING, CLOSED, TRACED, *inside]
    rounds = options.rounds or (3 if options.quick else 11)
    times = collect(names, rounds, QUICK_SHARE if options.quick else 1.0)
    repeats = 3 if options.quick else 15
    loops = {name: alternated(name, repeats) for name in names}
    medians = {what: {name: median(of[name]) for name in names} for what, of in times.items()}
    harness.show(
        line,
        Table(
            f"Time for one operation (median of {rounds} rounds)",
            ["work", *names],
            [
                [f"{what} ({WORKS[what][2]})", *(span(of[name] * 1e-9) for name in names)]
                for what, of in medians.items()
            ],
        ),
        Table(
            "Ratio to nothing (median of the rounds' ratios)",
            ["work", *names[1:]],
            [
                [what, *(f"{ratios(of, name):.3f}" for name in names[1:])]
                for what, of in times.items()
            ],
        ),
    )
    harness.show(
        Table(
            f"{LOOP}, beside the loops before and after it (medians of {repeats})",
            ["", *names],
            [["ratio", *(f"{median(loops[name]):.4f}" for name in names)]],
        )
    )
    pairs = medians[PAIR]
    harness.show(
        f"\nadded to a release/take pair by exact: {pairs['exact'] - pairs[NOTHING]:.1f} ns, and"
        f" by tracing it: {pairs[TRACED] - pairs['exact']:.1f} ns"
    )
    harness.write_json(options.json, {"ns": times, "loops": loops})
    return 0


if __name__ == "__main__":
    sys.exit(main())
