"""The service of the demonstration: it answers requests while it works in the background."""

import ctypes
import hashlib
import socket
import threading
import time

BLOCK = bytes(4 << 20)
QUERY = 0.001  # seconds that a database takes

device = ctypes.CDLL(None)


def digest(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()


def poll_device(microseconds: int) -> None:
    device.usleep(microseconds)


def answer(connection: socket.socket, requests: int) -> None:
    for _ in range(requests):
        question = connection.recv(1)
        time.sleep(QUERY)
        connection.sendall(question)


def ask(requests: int) -> None:
    """Send requests one after the other, each as soon as the last is answered."""
    client, server = socket.socketpair()
    replier = threading.Thread(target=answer, args=(server, requests), name="replier")
    replier.start()
    for _ in range(requests):
        client.sendall(b"?")
        client.recv(1)
    replier.join()
    client.close()
    server.close()


class Background:
    """Digests blocks in a thread until it is left."""

    def __enter__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="digester")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            digest(BLOCK)
