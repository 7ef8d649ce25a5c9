import ctypes
import threading


def poll(library):
    """Wait for a device: a native call of two seconds that keeps the GIL."""
    library.usleep(2_000_000)


def test_a_device_is_polled():
    done = threading.Event()
    ticker = threading.Thread(target=done.wait, name="ticker")
    ticker.start()
    poller = threading.Thread(target=poll, args=(ctypes.PyDLL(None),), name="poller")
    poller.start()
    poller.join()
    done.set()
    ticker.join()
