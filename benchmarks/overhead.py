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

``--trace`` compares in one process what recording every hold and wait adds to a window.

So does the table of what test suites do: forks, subprocesses, threads, queues, a lock that many
want, garbage collections, imports; ``--suite`` shows that one alone. Its last column is the same
ratio in a process where nothing measures: what the machine alone makes of it.

What blame costs beyond the accounting is compared in the same way: work in a window that looks at
holders, with the same work before and after it in windows that do not; ``--blame`` shows that
alone. Beside it stand the same ratios where holds are audited, and where neither is done; in
brackets the interval in which the median of all possible rounds lies with 95 %. Threads that wait
for each other take a tenth more or less from one piece of work to the next: a difference of 2 %
needs a hundred rounds.

``closed`` is our core after its last window was closed: redirected, but not measuring. ``traced``
is ``exact`` with every hold and wait recorded.

A program gets slower with its first thread, whoever starts it: the C library no longer locks
without atomic instructions, the kernel counts references to files. The knocking thread can be
that first one; the rows marked "alone" tell what this costs. In all others the program has a
second, idle thread.

Run: ``python benchmarks/overhead.py``. It takes long; ``--trace``, ``--suite`` and ``--blame`` are
parts of it, ``--only PATTERN`` takes some rows of the latter two.

Expect: some 10 ns more for a release/take pair, and ratios below 1.1 for ordinary work; where many
threads start and want one lock it is up to 1.2.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import importlib
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from statistics import median, quantiles
from subprocess import PIPE, Popen

import harness
import instruments
from harness import Table, span

VOLLEY_LINE_UP_NS = 3_000
"""How long a side of the ping-pong holds the GIL, for the other to stand in line."""
LIMIT = 60.0
"""Seconds that one process may take for one piece of work."""
ECHO_SIZE = 64
CLIENT = f"""
import socket, sys
for line in sys.stdin:
    port, count = map(int, line.split())
    with socket.create_connection(("127.0.0.1", port)) as server:
        for _ in range(count):
            server.sendall(bytes({ECHO_SIZE}))
            server.recv({ECHO_SIZE}, socket.MSG_WAITALL)
"""


def together(threads: Iterable[threading.Thread]) -> None:
    """Start these threads, and wait for all of them."""
    sides = list(threads)
    for thread in sides:
        thread.start()
    for thread in sides:
        thread.join()


def pair(count: int) -> None:
    """Release and take the GIL; nobody else wants it."""
    from loads import native

    native.pairs(count)


def ping_pong(count: int) -> None:
    """Hand the GIL from one thread to another, which waits for it."""
    from loads import native

    together(
        threading.Thread(target=native.volley, args=(side, count // 2, VOLLEY_LINE_UP_NS))
        for side in (0, 1)
    )


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


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, until nothing does."""
    while message := await reader.read(ECHO_SIZE):
        writer.write(message)
        await writer.drain()
    writer.close()


def echo(count: int) -> None:
    """Round trips through asyncio streams on the loopback."""

    async def trips() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
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


def forks(count: int) -> None:
    """Fork, end the child at once, and wait for it."""
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)


def subprocesses(count: int) -> None:
    """Run a program that does nothing."""
    for _ in range(count):
        subprocess.run(["true"], check=True)


def threads(count: int) -> None:
    """Start a thread that does nothing, and join it."""
    for _ in range(count):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()


def queues(count: int) -> None:
    """Hand an object to another thread, and get it back."""
    there: queue.SimpleQueue[object] = queue.SimpleQueue()
    back: queue.SimpleQueue[object] = queue.SimpleQueue()

    def answer() -> None:
        for _ in range(count):
            back.put(there.get())

    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(count):
        there.put(None)
        back.get()
    thread.join()


def one_lock(count: int) -> None:
    """Take and release a lock that 64 threads want; ``count`` in all."""
    lock = threading.Lock()

    def take() -> None:
        for _ in range(max(1, count // LOCK_THREADS)):
            with lock:
                pass

    together(threading.Thread(target=take) for _ in range(LOCK_THREADS))


def collections(count: int) -> None:
    """Collect garbage among 100,000 objects."""
    kept = [[number] for number in range(100_000)]
    for _ in range(count):
        gc.collect()
    kept.clear()


def imports(count: int) -> None:
    """Import a module of the standard library from its file of bytecode."""
    for _ in range(count):
        sys.modules.pop("fractions", None)
        importlib.import_module("fractions")


def computing(threads: int) -> Callable[[int], None]:
    """Loops in bytecode, in so many threads; ``count`` iterations in all."""

    def compute(count: int) -> None:
        together(
            threading.Thread(target=python_loop, args=(count // threads,)) for _ in range(threads)
        )

    return compute


@functools.cache
def client() -> Popen[str]:
    """A process that makes round trips: as many, and to the port, as each line says to it."""
    return Popen([sys.executable, "-c", CLIENT], stdin=PIPE, text=True)


def echo_beside_a_computing_thread(count: int) -> None:
    """Answers to another process by an asyncio loop, which waits for a thread that computes each
    time that it has slept. (A loop that talks to itself need not sleep, and may keep the GIL.)
    """
    stopping = threading.Event()

    def compute() -> None:
        while not stopping.is_set():
            python_loop(1_000)

    async def serve() -> None:
        done = asyncio.Event()

        async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answer(reader, writer)
            done.set()

        server = await asyncio.start_server(answer_all, "127.0.0.1", 0)
        to_client = client().stdin
        assert to_client is not None
        to_client.write(f"{server.sockets[0].getsockname()[1]} {count}\n")
        to_client.flush()
        await done.wait()
        server.close()
        await server.wait_closed()

    thread = threading.Thread(target=compute)
    thread.start()
    asyncio.run(serve())
    stopping.set()
    thread.join()


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
SUITE: dict[str, tuple[Callable[[int], None], int, str]] = {
    "os.fork()": (forks, 100, "fork and wait"),
    'subprocess.run(["true"])': (subprocesses, 60, "run"),
    "thread start and join": (threads, 1_000, "thread"),
    "queue ping-pong": (queues, 4_000, "round trip"),
    "64 threads on one lock": (one_lock, 64_000, "acquisition"),
    "gc.collect()": (collections, 64, "collection"),
    "importing a module": (imports, 150, "import"),
}
"""What test suites do, once for each loop of the comparison within one process."""
TRACES = (PAIR, "1-byte writes", "ping-pong")
BLAMED: dict[str, tuple[Callable[[int], None], int, str]] = {
    PAIR: (pair, 3_000_000, "pair"),
    "ping-pong": (ping_pong, 16_000, "hand-over"),
    "thread pool": (thread_pool, 8_000, "task"),
    "asyncio echo": (echo, 5_000, "round trip"),
    "asyncio echo beside a CPU thread": (echo_beside_a_computing_thread, 24, "round trip"),
    "8 CPU threads": (computing(8), 8_000_000, "iteration"),
    "64 CPU threads": (computing(64), 8_000_000, "iteration"),
    LOOP: (python_loop, 8_000_000, "iteration"),
}
"""What waits for the GIL, or might, once for each piece of the comparison."""
LOCK_THREADS = 64
EMPTY_BLOCK = "with measure(): pass"
ALONE = ", alone"
QUICK_SHARE = 0.01
QUICK_WORKS = 2
"""Of the usual counts: enough to see that all works, too few for a figure."""

NOTHING = "nothing"
CLOSED = "closed"
TRACED = "traced"
TRACE_PROBES = [NOTHING, "exact", TRACED]
ACCOUNTED = "accounting"
BLAME = "blame"
AUDIT = "audit"


def probe_of(name: str) -> instruments.Probe:
    """What goes on around the work: an instrument, or nothing."""
    if name == TRACED:
        return instruments.traced()
    if name in (ACCOUNTED, BLAME):
        return instruments.looking(on=name == BLAME)
    if name == AUDIT:
        return instruments.audited()
    if name in (NOTHING, CLOSED):
        return instruments.Probe(lambda: None, lambda: None, lambda _: instruments.Seen(None))
    return instruments.by_name(name).make()


def timed(do: Callable[[int], None], count: int) -> int:
    """What doing something so many times takes, in ns."""
    start = time.perf_counter_ns()
    do(count)
    return time.perf_counter_ns() - start


def part_of(count: int, share: float) -> int:
    """That share of the usual number of operations, one at least."""
    return max(1, round(count * share))


def alternate(name: str, what: str, rounds: int, share: float) -> None:
    """The child's part: ns for one operation before, under and after the instrument, each round."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    do, usual, _ = (WORKS | SUITE)[what]
    # Knocks come more often in the first 50 ms of a window, so the loop is longer than that.
    count = part_of(2 * usual if what == LOOP else usual, share)
    do(count)
    found = []
    for _ in range(rounds):
        before = timed(do, count)
        probe = probe_of(name)
        probe.begin()
        during = timed(do, count)
        probe.end()
        found.append([took / count for took in (before, during, timed(do, count))])
    harness.reply(found)


def alternate_blame(name: str, what: str, rounds: int, share: float) -> None:
    """As :func:`alternate`, but before and after the accounting is at work alone."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    do, usual, _ = BLAMED[what]
    count = part_of(usual, share)

    def under(instrument: str) -> float:
        probe = probe_of(instrument)
        probe.begin()
        took = timed(do, count)
        probe.end()
        return took / count

    under(name)
    harness.reply([[under(ACCOUNTED), under(name), under(ACCOUNTED)] for _ in range(rounds)])


def measures(count: int) -> None:
    """The child's part: ns for each of some empty blocks under ``with measure()``."""
    from pytest_gilknock import measure

    def block(_: int) -> None:
        with measure():
            pass

    harness.reply([timed(block, 1) for _ in range(count)])


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
                    took = request(processes[name], what, part_of(count, share))
                    times[what][name].append(took)
    return times


def alternated(
    name: str, what: str, rounds: int, share: float, option: str = "--alternate"
) -> list[list[float]]:
    """ns for one operation before, under and after the instrument, in one process."""
    harness.progress(f"{what}, {name}")
    command = [sys.executable, __file__, option, name, "--what", what]
    command += ["--rounds", str(rounds), "--share", str(share)]
    found: list[list[float]] = harness.ask(command, LIMIT * len(WORKS))
    return found


def ratios_within(found: list[list[float]]) -> list[float]:
    """The ratios to what stands before and after, in one process."""
    return [2 * during / (before + after) for before, during, after in found]


def ratio_within(found: list[list[float]]) -> float:
    """Median of the ratios to what stands before and after, in one process."""
    return median(ratios_within(found))


def suite(
    works: Sequence[str], rounds: int, share: float
) -> dict[str, dict[str, list[list[float]]]]:
    """What :func:`alternated` found for works of :data:`SUITE`, without and with a window."""
    return {
        what: {name: alternated(name, what, rounds, share) for name in (NOTHING, "exact")}
        for what in works
    }


def suite_table(found: dict[str, dict[str, list[list[float]]]], rounds: int) -> Table:
    """Bare time, time in a window, ratio, and what the ratio is where nothing measures."""
    rows = []
    for what, by_name in found.items():
        bare = median(took for each in by_name[NOTHING] for took in each)
        window = median(during for _, during, _ in by_name["exact"])
        rows.append(
            [
                f"{what} ({SUITE[what][2]})",
                span(bare * 1e-9),
                span(window * 1e-9),
                f"{ratio_within(by_name['exact']):.3f}",
                f"{ratio_within(by_name[NOTHING]):.3f}",
            ]
        )
    title = f"What test suites do (medians of {rounds}; ratios within one process)"
    return Table(title, ["work", "bare", "window open", "ratio", "ratio of nothing"], rows)


def interleave(what: str, rounds: int, share: float) -> None:
    """The child's part: ns for one operation without a window, in one, in one that records; the
    three in turn, in an order that moves on by one each round, all in this process."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    do, usual, _ = WORKS[what]
    count = part_of(usual, share / 5)
    found = []
    for at in range(rounds + 1):
        took = {}
        for name in TRACE_PROBES[at % 3 :] + TRACE_PROBES[: at % 3]:
            probe = probe_of(name)
            probe.begin()
            do(count // 20)
            took[name] = timed(do, count) / count
            probe.end()
        found.append([took[name] for name in TRACE_PROBES])
    harness.reply(found[1:])  # the first one warms up


def trace_times(rounds: int, share: float) -> dict[str, list[list[float]]]:
    """What :func:`interleave` found for what takes the GIL most often."""
    found = {}
    for what in TRACES:
        harness.progress(f"{what}, with and without a trace")
        command = [sys.executable, __file__, "--interleave", what]
        command += ["--rounds", str(rounds), "--share", str(share)]
        found[what] = harness.ask(command, LIMIT * len(WORKS))
    return found


def trace_table(found: dict[str, list[list[float]]]) -> Table:
    """Bare time, time in a window, in one with a trace, and what that adds to one operation."""
    rows = []
    for what, times in found.items():
        bare, window, traced = (quantiles(part, n=10)[0] for part in zip(*times, strict=True))
        added = median(traced - window for _, window, traced in times)
        rows.append(
            [
                f"{what} ({WORKS[what][2]})",
                *(span(part * 1e-9) for part in (bare, window, traced)),
                f"{traced - window:+.1f} ns",
                f"{added:+.1f} ns",
            ]
        )
    title = "What recording every hold and wait adds (of the times, those that a tenth is below)"
    heads = ["work", "bare", "window", "window with trace", "trace adds", "median"]
    return Table(title, heads, rows)


def blamed(
    works: Sequence[str], rounds: int, share: float
) -> dict[str, dict[str, list[list[float]]]]:
    """What the children found for works of :data:`BLAMED`."""
    return {
        what: {
            name: alternated(name, what, rounds, share, "--alternate-blame")
            for name in (BLAME, AUDIT, ACCOUNTED)
        }
        for what in works
    }


def blame_table(found: dict[str, dict[str, list[list[float]]]], rounds: int) -> Table:
    """Time with the accounting alone, and ratios to it with the interval that holds with 95 %."""
    rows = []
    for what, by_name in found.items():
        alone = median(took for before, _, after in by_name[BLAME] for took in (before, after))
        ratios = []
        for name in (BLAME, AUDIT, ACCOUNTED):
            middle, low, high = harness.median_within(ratios_within(by_name[name]))
            ratios.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
        rows.append([f"{what} ({BLAMED[what][2]})", span(alone * 1e-9), *ratios])
    title = f"Beyond the accounting alone (medians of {rounds}; ratios within one process)"
    return Table(title, ["work", "accounting", "with blame", "audited", "ratio of nothing"], rows)


def measure_table(processes: int, blocks: int) -> tuple[Table, list[list[float]]]:
    """What an empty block under ``with measure()`` takes."""
    harness.progress("with measure()")
    command = [sys.executable, __file__, "--measures", str(blocks)]
    found: list[list[float]] = [harness.ask(command, LIMIT) for _ in range(processes)]
    first = median(each[0] for each in found)
    later = median(took for each in found for took in each[10:])
    row = [EMPTY_BLOCK, span(first * 1e-9), span(later * 1e-9)]
    return Table("An empty block", ["work", "first in a process", "later"], [row]), found


def ratios(times: dict[str, list[float]], name: str) -> float:
    """Median of the ratios to nothing, round by round."""
    paired = zip(times[name], times[NOTHING], strict=True)
    return median(took / bare for took, bare in paired)


def chosen(works: Iterable[str], options: argparse.Namespace) -> list[str]:
    """The works that ``--only`` names; of a smoke run the first of them."""
    names = [what for what in works if re.search(options.only, what)]
    return names[:QUICK_WORKS] if options.quick else names


def main() -> int:
    """Run the program."""
    parser = harness.parser(__doc__)
    parser.add_argument("--under", help=argparse.SUPPRESS)
    parser.add_argument("--alternate", help=argparse.SUPPRESS)
    parser.add_argument("--interleave", help=argparse.SUPPRESS)
    parser.add_argument("--what", help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--measures", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--alternate-blame", help=argparse.SUPPRESS)
    parser.add_argument("--blame", action="store_true", help="only what blame and audits cost")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="with --suite or --blame: works that match it"
    )
    parser.add_argument("--suite", action="store_true", help="only what test suites do")
    parser.add_argument("--trace", action="store_true", help="only what recording adds")
    options = harness.start(parser)
    if options.under is not None:
        work(options.under)
        return 0
    if options.alternate is not None:
        alternate(options.alternate, options.what, options.rounds, options.share)
        return 0
    if options.interleave is not None:
        interleave(options.interleave, options.rounds, options.share)
        return 0
    if options.alternate_blame is not None:
        alternate_blame(options.alternate_blame, options.what, options.rounds, options.share)
        return 0
    if options.measures is not None:
        measures(options.measures)
        return 0
    line = harness.machine_line()
    share = QUICK_SHARE if options.quick else 1.0
    if options.trace:
        found = trace_times(options.rounds or (2 if options.quick else 40), share)
        harness.show(line, trace_table(found))
        harness.write_json(options.json, found)
        return 0
    blame_rounds = options.rounds or (1 if options.quick else 15)
    beyond = {} if options.suite else blamed(chosen(BLAMED, options), blame_rounds, share)
    if options.blame:
        harness.show(line, blame_table(beyond, blame_rounds))
        harness.write_json(options.json, {"blame": beyond})
        return 0
    suite_rounds = options.rounds or (1 if options.quick else 25)
    works = suite(chosen(SUITE, options), suite_rounds, share)
    tables = [suite_table(works, suite_rounds)] if works else []
    measured: list[list[float]] = []
    if re.search(options.only, EMPTY_BLOCK):
        blocks, measured = measure_table(*((1, 20) if options.quick else (9, 2_000)))
        tables.append(blocks)
    if options.suite:
        harness.show(line, *tables)
        harness.write_json(options.json, {"suite": works, "measure": measured})
        return 0
    inside = [one.name for one in instruments.here() if not one.outside]
    names = [NOTHING, CLOSED, TRACED, *inside]
    rounds = options.rounds or (1 if options.quick else 11)
    times = collect(names, rounds, share)
    repeats = 1 if options.quick else 15
    loops = {name: ratio_within(alternated(name, LOOP, repeats, share)) for name in names}
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
            [["ratio", *(f"{loops[name]:.4f}" for name in names)]],
        ),
        *tables,
        blame_table(beyond, blame_rounds),
    )
    pairs = medians[PAIR]
    harness.show(
        f"\nadded to a release/take pair by exact: {pairs['exact'] - pairs[NOTHING]:.1f} ns, and"
        f" by tracing it: {pairs[TRACED] - pairs['exact']:.1f} ns"
    )
    harness.write_json(
        options.json,
        {"ns": times, "loops": loops, "suite": works, "measure": measured, "blame": beyond},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
