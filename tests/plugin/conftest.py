import pytest

BUSY = """
import ctypes
import threading

def keep_another_waiting(milliseconds):
    wanted = threading.Event()
    def want():
        while not wanted.is_set():
            pass
    thread = threading.Thread(target=want, name="the one who waits")
    thread.start()
    ctypes.PyDLL(None).usleep(milliseconds * 1000)
    wanted.set()
    thread.join()
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def two_tests(pytester):
    pytester.makepyfile(busy=BUSY)
    pytester.makepyfile(
        """
        from busy import keep_another_waiting

        def test_wait():
            keep_another_waiting(50)

        def test_calm():
            pass
        """
    )
    return pytester
