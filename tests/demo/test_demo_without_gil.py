"""Two small programs more where the GIL is off: what threads wait for in its place."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor


def tally(counts, numbers):
    for number in numbers:
        counts[number % 100] = counts.get(number % 100, 0) + 1


def test_one_dict_for_four_threads():
    """A dict has a lock: whoever finds it taken by another thread waits."""
    counts = {}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tally, [counts] * 4, [range(20_000)] * 4))
    assert len(counts) == 100


def test_garbage_is_collected_beside_threads():
    """To collect garbage a thread stops all the others: a stop-the-world pause."""
    kept = [[number] for number in range(300_000)]
    done = threading.Event()

    def compute():
        while not done.is_set():
            tally({}, range(1_000))

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(compute)
        for _ in range(5):
            gc.collect()
        done.set()
    assert len(kept) == 300_000
