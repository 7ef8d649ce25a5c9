import threading


def compute():
    sum(number * number for number in range(200_000))


def test_two_orders_at_once():
    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
