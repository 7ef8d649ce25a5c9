"""David Beazley's request/reply server, alone and beside threads that compute.

For ``pytest --gil-html=gil.html tests/convoy_demo``: "Understanding the Python GIL", PyCon 2010.
The client is a process of its own, so that only the server's threads meet at the GIL.
"""

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

CLIENT = """
import socket, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as connection:
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        connection.sendall(b"request.")
        connection.recv(8)
"""


def answer(connection):
    while request := connection.recv(8):
        connection.sendall(request)


def serve(listener):
    connection, _ = listener.accept()
    with connection:
        answer(connection)


def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


@contextmanager
def beside(work, name):
    stop = threading.Event()

    def repeat():
        while not stop.is_set():
            work()

    thread = threading.Thread(target=repeat, name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def requests_served():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), name="server")
        server.start()
        port = str(listener.getsockname()[1])
        subprocess.run([sys.executable, "-Ic", CLIENT, port], check=True, timeout=60)
        server.join()


def test_server_alone():
    """It lets go of the GIL for each request, and gets it back at once."""
    requests_served()


def test_server_beside_a_thread_that_computes():
    """Each request waits a switch interval of 5 ms for the GIL: the convoy effect."""
    with beside(lambda: fibonacci(20), "hog"):
        requests_served()


@pytest.mark.max_gil_wait("1s", thread="server")
def test_server_beside_native_work():
    """zlib lets go of the GIL while it compresses: the server hardly notices."""
    import zlib

    data = bytes(range(256)) * 2000
    with beside(lambda: zlib.compress(data, 6), "zlib"):
        requests_served()
