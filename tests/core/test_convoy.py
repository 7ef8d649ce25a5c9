"""Beazley's request/reply server beside a thread that computes, and a pool that is no convoy."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from support.inner import exact
from support.knocks import knock_interval

from pytest_gilknock import GilReading, measure
from pytest_gilknock.model.convoy import FEWEST_WAITS, convoy_of

from . import loads

pytestmark = exact

# Sends the next request when it has the answer, until the server hangs up.
CLIENT = """
import contextlib, socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        server.sendall(bytes(512))
        while answer := server.recv(512, socket.MSG_WAITALL):
            server.sendall(answer)
"""

INTERVAL = 0.1
"""Seconds. A busy machine gives a processor some 10 ms late to each thread that a wait passes
through, which is much beside the usual switch interval of 5 ms and little beside this one."""

PATIENCE = 120.0
"""Seconds after which the server will not wait often enough any more."""


@pytest.fixture
def long_switch_interval() -> Iterator[None]:
    """And no knocks: in so long an interval each of them would wait in the server's way."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(INTERVAL)
    with knock_interval(0):
        yield
    sys.setswitchinterval(before)


def waits_of_the_server(reading: GilReading) -> int:
    return sum(thread.contended for thread in reading.threads if thread.name == "server")


def reading_of_a_server(*, hogs: int, waits: int) -> GilReading:
    """Measure a server beside so many threads that compute, until it has waited so often."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        port = str(listener.getsockname()[1])
        client = subprocess.Popen([sys.executable, "-c", CLIENT, port])
        connection, _ = listener.accept()
    stop = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while request := connection.recv(512, socket.MSG_WAITALL):
                connection.sendall(request)

    def compute() -> None:
        while not stop.is_set():
            sum(number * number for number in range(1_000))

    threads = [threading.Thread(target=serve, name="server")]
    threads += [threading.Thread(target=compute, name="hog") for _ in range(hogs)]
    with client, connection:
        try:
            with measure() as m:
                for thread in threads:
                    thread.start()
                until = time.monotonic() + PATIENCE
                time.sleep(0.5)
                while waits_of_the_server(m.reading) < waits and time.monotonic() < until:
                    time.sleep(0.5)
        finally:
            stop.set()
            connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
    return m.reading


@pytest.mark.usefixtures("long_switch_interval")
def test_a_server_beside_a_thread_that_computes_is_a_convoy():
    reading = reading_of_a_server(hogs=1, waits=2 * FEWEST_WAITS)
    convoy = convoy_of(reading)
    assert convoy is not None, reading
    assert [thread.name for thread in convoy.threads] == ["server"]
    assert [thread.name for thread in convoy.computing] == ["hog"]


def test_a_server_alone_is_none():
    assert convoy_of(reading_of_a_server(hogs=0, waits=0)) is None


def test_a_pool_that_computes_is_none():
    with measure() as m:
        loads.in_threads(3, lambda: loads.spin(0.5))
    assert m.reading.wait > 0.5
    assert convoy_of(m.reading) is None
