"""Which work gains from threads, which from processes, and what the GIL has to do with it."""

import hashlib
import importlib.util
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

from pytest_gilknock import measure

JOBS = 8
WORKERS = 2


def wait_for_a_reply(_):
    time.sleep(0.05)


def compute_in_python(_):
    sum(number * number for number in range(600_000))


def hash_a_password(number):
    hashlib.pbkdf2_hmac("sha256", bytes([number]), b"salt", 60_000)


def sort_an_array(number):
    import numpy

    numpy.sort(numpy.random.default_rng(number).random(800_000))


def run(work, pool: Executor | None) -> None:
    list(pool.map(work, range(JOBS)) if pool else map(work, range(JOBS)))


def row(work, name: str, pool: Executor | None) -> str:
    run(work, pool)  # what is imported and started once is so before the measurement
    with measure() as m:
        run(work, pool)
    wait = m.reading.wait
    numbers = [
        m.reading.wall,
        m.reading.contention,
        None if wait is None else wait / m.reading.wall,
    ]
    cells = ["n/a" if number is None else f"{number:.3f}" for number in numbers]
    return f"{work.__name__:18} {name:10}" + "".join(f"{cell:>12}" for cell in cells)


def main() -> None:
    works = [wait_for_a_reply, compute_in_python, hash_a_password]
    if importlib.util.find_spec("numpy"):
        works.append(sort_an_array)
    print(f"{'work':18} {'workers':10}{'wall (s)':>12}{'contention':>12}{'wait (s/s)':>12}")
    with ThreadPoolExecutor(WORKERS) as threads, ProcessPoolExecutor(WORKERS) as processes:
        for work in works:
            for name, pool in (("none", None), ("threads", threads), ("processes", processes)):
                print(row(work, name, pool))


if __name__ == "__main__":
    main()
