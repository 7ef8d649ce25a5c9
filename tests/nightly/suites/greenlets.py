"""Greenlets of gevent, which takes the place of threads where it patches."""

import threading

import gevent


def test_greenlets():
    jobs = [gevent.spawn(gevent.sleep, 0.01) for _ in range(10)]
    gevent.joinall(jobs)
    assert all(job.successful() for job in jobs)


def test_threads():
    seen = []
    threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 5


def test_native_threads():
    assert gevent.get_hub().threadpool.apply(sum, (range(1000),)) == 499500
