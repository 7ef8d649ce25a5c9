"""Counts words with four threads, for a Python without a GIL."""

import gc
from concurrent.futures import ThreadPoolExecutor

WORDS = [f"word{number % 500}" for number in range(100_000)]


def count_in(counts, words):
    for word in words:
        counts[word] = counts.get(word, 0) + 1


def in_threads(function, *calls):
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(function, *arguments) for arguments in calls]:
            future.result()


def test_one_dict_for_all():
    counts = {}
    in_threads(count_in, *[(counts, WORDS)] * 4)


def test_a_dict_for_each():
    parts = [{} for _ in range(4)]
    in_threads(count_in, *[(part, WORDS) for part in parts])
    total = {}
    for part in parts:
        for word, number in part.items():
            total[word] = total.get(word, 0) + number
    assert total["word7"] == 4 * 200


def test_garbage_is_collected_meanwhile():
    kept = [[number] for number in range(1_000_000)]

    def work(collects):
        for _ in range(3 if collects else 0):
            gc.collect()
        if not collects:
            count_in({}, WORDS)

    in_threads(work, (True,), (False,), (False,))
    assert len(kept) == 1_000_000
