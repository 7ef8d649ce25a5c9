import threading

import service


def in_threads(work, *arguments, count):
    threads = [threading.Thread(target=work, args=arguments) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_requests_are_answered_beside_the_digests():
    with service.Background():
        service.ask(requests=60)


def test_devices_are_polled_at_once():
    in_threads(service.poll_device, 80_000, count=4)


def test_numbers_are_added_up_by_two_threads():
    def add_up():
        for _ in range(20):
            sum(range(100_000))

    in_threads(add_up, count=2)
