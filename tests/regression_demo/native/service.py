"""Polls devices by a native library, one thread for each."""

import ctypes
import json
import threading

DEVICES = 10

library = ctypes.CDLL(None)
waiting = library
resetting = library


def poll() -> None:
    """Wait for a device to send; the library releases the GIL meanwhile."""
    waiting.usleep(4000)


def reset() -> None:
    resetting.usleep(500)


def decode() -> str:
    return json.dumps([{"sample": number} for number in range(1000)])


def watch(samples: int) -> None:
    for _ in range(samples):
        poll()
        reset()
        decode()


def watch_all(samples: int) -> None:
    threads = [threading.Thread(target=watch, args=(samples,)) for _ in range(DEVICES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
