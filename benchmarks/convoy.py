"""What does one CPU-bound thread do to a server, and what does our reading say of it?

Question: David Beazley's experiments (the convoy effect: a thread that does short I/O has to
win the GIL back from a thread that does none, and waits a switch interval for it each time) on
this interpreter.

Method: a server of requests that are a size and so many bytes, answered alike, one client in a
process of its own that sends the next request when it has the answer. The server is a thread
with blocking sockets, with a selector, with multiprocessing's connections or with ZeroMQ, or an
asyncio loop; beside it runs nothing, or one CPU-bound thread, or (the way out) a CPU-bound
process. The whole time is one window of ours, opened in the server's process; shown
is the round with the median rate. Then the same over switch intervals, and with native work
that lets go of the GIL in place of the pure-Python loop.

Truth: request rate and latency are the client's own count and clock. They are no truth of the
GIL, but the reading has to explain them: the wait of the server's thread should make up the
latency that was added.

Run: ``python benchmarks/convoy.py``, some minutes; the rows of ZeroMQ and NumPy need pyzmq and
numpy.

Expect: beside a thread that computes each server loses most of its requests, waits for half of each
second and more, and is called a convoy. Alone, and beside a process, it hardly waits.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import importlib.util
import json
import multiprocessing
import os
import random
import selectors
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median, quantiles
from subprocess import PIPE
from typing import Any

import harness
from harness import Table, figure, span

SIZE = struct.Struct("!I")
MESSAGE = 512
"""Bytes in a request."""
SERVER = "server"
"""Name of the thread that serves."""
INTERVALS = [0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1]
"""Switch intervals that are gone through."""
LIMIT = 30.0
"""Seconds that a server may outlive what it was told to run."""


@dataclass(frozen=True)
class Setting:
    """One experiment: who serves, what goes on beside it, under which switch interval."""

    server: str
    beside: str
    switch: float = 0.005


def serve_in_thread(listener: socket.socket) -> None:
    """Answer one client, then return; blocking calls, each of which lets go of the GIL."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as requests:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while head := requests.read(SIZE.size):
            body = requests.read(SIZE.unpack(head)[0])
            connection.sendall(head + body)


def serve_in_loop(listener: socket.socket) -> None:
    """The same in an event loop."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(SIZE.size)
                body = await reader.readexactly(SIZE.unpack(head)[0])
                writer.write(head + body)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()
            done.set()

    async def serve() -> None:
        server = await asyncio.start_server(answer, sock=listener)
        await done.wait()
        server.close()

    done = asyncio.Event()
    asyncio.run(serve())


def serve_by_selector(listener: socket.socket) -> None:
    """The same with sockets that never block: the thread waits for all of them at once."""
    connection, _ = listener.accept()
    with connection, selectors.DefaultSelector() as selector:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        received = bytearray()
        while True:
            selector.select()
            if not (part := connection.recv(1 << 16)):
                return
            received += part
            while len(received) >= SIZE.size:
                end = SIZE.size + SIZE.unpack_from(received)[0]
                if len(received) < end:
                    break
                connection.send(received[:end])  # less than the socket's buffer has room for
                del received[:end]


def serve_by_connection(listener: socket.socket) -> None:
    """The same with multiprocessing's connection, whose messages have the same form."""
    accepted, _ = listener.accept()
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with Connection(accepted.detach()) as connection, suppress(EOFError):
        while True:
            connection.send_bytes(connection.recv_bytes())


def serve_by_zeromq(listener: socket.socket) -> None:
    """The same with ZeroMQ, whose own thread does the I/O without the GIL; it echoes the parts."""
    zmq = importlib.import_module("zmq")
    with zmq.Context() as context, context.socket(zmq.STREAM) as stream:
        stream.setsockopt(zmq.USE_FD, listener.detach())
        stream.bind("tcp://127.0.0.1:*")
        opened = False
        while True:
            client, part = stream.recv_multipart()
            if part:
                stream.send_multipart([client, part])
            elif opened:  # an empty part comes as a client connects, and as it leaves
                return
            opened = True


SERVERS: dict[str, Callable[[socket.socket], None]] = {
    "thread": serve_in_thread,
    "selector": serve_by_selector,
    "asyncio": serve_in_loop,
    "connection": serve_by_connection,
    "zeromq": serve_by_zeromq,
}


def python_work(stop: Callable[[], bool]) -> None:
    """Pure Python: holds the GIL until it is made to let go."""
    while not stop():
        sum(number * number for number in range(1_000))


def zlib_work(stop: Callable[[], bool]) -> None:
    """Compression of 256 kB at a time, without the GIL."""
    data = random.Random(1).randbytes(1 << 18)
    while not stop():
        zlib.compress(data, 6)


def hash_work(stop: Callable[[], bool]) -> None:
    """Hashing of 1 MB at a time, without the GIL."""
    data = bytes(1 << 20)
    while not stop():
        hashlib.sha256(data)


def numpy_work(stop: Callable[[], bool]) -> None:
    """Sorting and sines of 100,000 numbers, without the GIL for most of the time."""
    numpy = importlib.import_module("numpy")
    data = numpy.random.default_rng(1).random(100_000)
    while not stop():
        numpy.sort(data)
        numpy.sin(data)


WORKS: dict[str, Callable[[Callable[[], bool]], None]] = {
    "python": python_work,
    "zlib": zlib_work,
    "hashlib": hash_work,
    "numpy": numpy_work,
}


def work_until_orphaned(parent: int) -> None:
    """The CPU-bound work in a process of its own, which ends when its parent does."""
    python_work(lambda: os.getppid() != parent)


def serve(setting: Setting) -> None:
    """The child's part: tell the port, serve one client inside a window, tell the reading."""
    from pytest_gilknock import measure
    from pytest_gilknock.model.convoy import convoy_of

    sys.setswitchinterval(setting.switch)
    if setting.server == "zeromq":
        importlib.import_module("zmq")  # takes its time, which is none of the first request
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = threading.Thread(target=SERVERS[setting.server], args=(listener,), name=SERVER)
    stop = threading.Event()
    beside: threading.Thread | multiprocessing.process.BaseProcess | None = None
    if setting.beside == "process":
        spawn = multiprocessing.get_context("spawn")
        beside = spawn.Process(target=work_until_orphaned, args=(os.getpid(),), daemon=True)
    elif setting.beside != "nothing":
        beside = threading.Thread(target=WORKS[setting.beside], args=(stop.is_set,), name="beside")
    if beside is not None:
        beside.start()
    with measure() as window:
        server.start()
        print(port, flush=True)
        server.join()
    stop.set()
    if isinstance(beside, threading.Thread):
        beside.join()
    elif beside is not None:
        beside.kill()
        beside.join()
    found = convoy_of(window.reading) is not None
    print(json.dumps({**window.reading.as_dict(), "convoy": found}), flush=True)


def call(port: int, seconds: float) -> list[float]:
    """The client: send request after request for ``seconds``; seconds that each took."""
    request = SIZE.pack(MESSAGE) + bytes(MESSAGE)
    latencies = []
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as replies:
            end = time.perf_counter() + seconds
            while (start := time.perf_counter()) < end:
                connection.sendall(request)
                if len(replies.read(len(request))) != len(request):
                    raise RuntimeError("the server hung up")
                latencies.append(time.perf_counter() - start)
    return latencies


@dataclass(frozen=True)
class Outcome:
    """What the client saw and what the reading in the server says."""

    setting: Setting
    seconds: float
    latencies: list[float]
    reading: dict[str, Any]

    def row(self) -> list[str]:
        """One line of a table."""
        reading = self.reading
        served = [thread for thread in reading["threads"] if thread["name"] == SERVER]
        wait = served[0]["wait"] if served else None
        longest = served[0]["max_wait"] if served else None
        cuts = quantiles(self.latencies, n=100) if len(self.latencies) > 1 else None
        return [
            f"{self.setting.server}, beside {self.setting.beside}",
            span(self.setting.switch),
            f"{len(self.latencies) / self.seconds:.0f}",
            span(median(self.latencies)),
            span(cuts[98]) if cuts else "-",
            figure(reading["contention"]),
            figure(None if wait is None else wait / reading["wall"]),
            "-" if wait is None else span(wait / len(self.latencies)),
            "-" if longest is None else span(longest),
            "yes" if reading["convoy"] else "no",
        ]


HEAD = ["server", "switch", "req/s", "p50", "p99"]
HEAD += ["contention", "wait/s", "wait/req", "max wait", "convoy"]


def observe(setting: Setting, seconds: float) -> Outcome:
    """Run one experiment; raises :class:`RuntimeError` when the server fails."""
    harness.progress(f"{setting.server} beside {setting.beside}, switch {span(setting.switch)}")
    command = [sys.executable, __file__, "--serve", setting.server, setting.beside]
    with harness.child([*command, str(setting.switch)], stdout=PIPE) as process:
        watch = threading.Timer(seconds + LIMIT, process.kill)
        watch.daemon = True
        watch.start()
        try:
            assert process.stdout is not None
            port = process.stdout.readline()
            if not port:
                raise RuntimeError("the server has died or hangs")
            latencies = call(int(port), seconds)
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError("the server has died or hangs")
        finally:
            watch.cancel()
    return Outcome(setting, seconds, latencies, json.loads(answer))


def observe_often(setting: Setting, seconds: float, rounds: int) -> Outcome:
    """Run one experiment ``rounds`` times; the round whose request rate is the median."""
    outcomes = [observe(setting, seconds) for _ in range(rounds)]
    return sorted(outcomes, key=lambda one: len(one.latencies))[rounds // 2]


def main() -> int:
    """Run the program."""
    parser = harness.parser(__doc__)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = harness.start(parser)
    if options.serve:
        server, beside, switch = options.serve
        serve(Setting(server, beside, float(switch)))
        return 0
    rounds = options.rounds or (1 if options.quick else 3)
    seconds = 0.1 if options.quick else 2.0
    intervals = [0.0001, 0.005] if options.quick else INTERVALS
    works = [w for w in WORKS if w != "numpy" or importlib.util.find_spec("numpy")]
    servers = [s for s in SERVERS if s != "zeromq" or importlib.util.find_spec("zmq")]
    tables = {
        "One CPU-bound thread beside the server, and the way out": [
            Setting(server, beside)
            for server in servers
            for beside in ("nothing", "python", "process")
        ],
        "The same over switch intervals": [
            Setting(server, "python", interval)
            for server in ("thread", "asyncio")
            for interval in intervals
        ],
        "What the CPU-bound thread does": [Setting("thread", work) for work in works],
    }
    line = harness.machine_line()
    outcomes = {
        title: [observe_often(setting, seconds, rounds) for setting in settings]
        for title, settings in tables.items()
    }
    harness.show(
        line,
        *(Table(title, HEAD, [one.row() for one in of]) for title, of in outcomes.items()),
        "\nwait/s: how long the server's thread waited in each second; wait/req: for each request;"
        "\nconvoy: whether reports call it one",
    )
    harness.write_json(
        options.json,
        [
            {**vars(one.setting), "latencies": one.latencies, "reading": one.reading}
            for of in outcomes.values()
            for one in of
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
