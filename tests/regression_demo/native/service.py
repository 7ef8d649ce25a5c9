"""Polls devices by a native library, one thread for each."""

import ctypes
import json
import threading

DEVICES = 12

library = ctypes.CDLL(None)
waiting = library
resetting = library
reading = ctypes.PyDLL(None)


def poll() -> None:
    """Wait for a device to send; the library releases the GIL meanwhile."""
    waiting.usleep(4000)


def reset() -> None:
    resetting.usleep(550)


def read() -> None:
    """Read the registers; the library keeps the GIL for a call that short."""
    reading.usleep(600)


def decode() -> str:
    return json.dumps([{"sample": number} for number in range(200)])


def watch(samples: int, start: threading.Event) -> None:
    start.wait()
    for _ in range(samples):
        poll()
        reset()
        read()
        decode()


def watch_all(samples: int) -> None:
    start = threading.Event()
    threads = [threading.Thread(target=watch, args=(samples, start)) for _ in range(DEVICES)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()
