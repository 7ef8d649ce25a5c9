import pytest
import service


@pytest.mark.parametrize("number", range(2))
def test_documents_are_read_at_once(number):
    service.read_all(documents=150)


@pytest.mark.parametrize("number", range(15))
def test_a_document_is_read(number):
    assert service.words(service.unpack())
