"""Beazley's request/reply server beside a thread that computes, and a pool that is no convoy."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from pytest_gilknock import _core, measure
from pytest_gilknock.model.convoy import Convoy, convoy_of

from . import loads

METHOD, REASON = _core.status()
exact_only = pytest.mark.skipif(METHOD != "exact", reason=f"no accounting here: {REASON}")

CLIENT = """
import socket, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        server.sendall(bytes(512))
        server.recv(512, socket.MSG_WAITALL)
"""


def serve(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while request := connection.recv(512, socket.MSG_WAITALL):
            connection.sendall(request)


def convoy_beside(hogs: int) -> Convoy | None:
    """What is said of a server beside so many threads that compute."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(number * number for number in range(1_000))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=serve, args=(listener,), name="server")]
        threads += [threading.Thread(target=compute, name="hog") for _ in range(hogs)]
        for thread in threads:
            thread.start()
        port = str(listener.getsockname()[1])
        with measure() as m:
            subprocess.run([sys.executable, "-c", CLIENT, port], check=True)
        stop.set()
        for thread in threads:
            thread.join()
    return convoy_of(m.reading)


@exact_only
def test_a_server_beside_a_thread_that_computes_is_a_convoy():
    # On a busy machine it is the system that keeps the server waiting, now and then, or a thread
    # that has the GIL from its processor.
    def is_as_built() -> bool:
        convoy = convoy_beside(hogs=1)
        return convoy is not None and (
            [thread.name for thread in convoy.threads] == ["server"]
            and [thread.name for thread in convoy.computing] == ["hog"]
        )

    assert any(is_as_built() for _ in range(5))


@exact_only
def test_a_server_alone_is_none():
    assert convoy_beside(hogs=0) is None


@exact_only
def test_a_pool_that_computes_is_none():
    with measure() as m:
        loads.in_threads(3, lambda: loads.spin(0.5))
    assert m.reading.wait > 0.5
    assert convoy_of(m.reading) is None
