import threading

from uploads import checksum, register


def test_a_checksum():
    assert checksum(bytes([1, 2, 3])) == 7


def test_uploads_beside_a_heartbeat():
    beats = []
    done = threading.Event()

    def beat():
        while not done.wait(0.001):
            beats.append("alive")

    heart = threading.Thread(target=beat, name="heartbeat")
    heart.start()
    found = register({"big.iso": bytes(30_000_000)})
    done.set()
    heart.join()
    assert found == {"big.iso": 1}
