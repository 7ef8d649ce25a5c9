from pytest_gilknock.model.wire import encodable


def test_a_text_that_is_no_utf8_is_escaped_wherever_it_stands():
    data = {"raw": [("a\udcff.py", 3, None), 0.5], "reason": "\ud800", "name": "h\u00e9"}
    assert encodable(data) == {
        "raw": [("a\\udcff.py", 3, None), 0.5],
        "reason": "\\ud800",
        "name": "h\u00e9",
    }


def test_other_data_is_left_alone():
    data = [("c:\\udder.py", "\U0001f40d", None, 1)]
    assert encodable(data) == data
    clean = {"name": "h\u00e9"}
    assert encodable(clean) is clean
