import service


def test_uploads_are_stored():
    assert all(service.store_all(uploads=200))


def test_an_upload_is_stored():
    assert service.store(service.UPLOAD) > 0
