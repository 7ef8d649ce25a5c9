import service


def test_devices_are_watched_at_once():
    service.watch_all(samples=10)


def test_a_sample_is_decoded():
    assert service.decode()
