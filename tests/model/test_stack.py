import sysconfig

import pytest

import pytest_gilknock
from pytest_gilknock.model.stack import PYTEST as AROUND
from pytest_gilknock.model.stack import Frame, Place, place_of, shorten, stack_of

JSON = f"{sysconfig.get_path('stdlib')}/json/encoder.py"
LIBRARY = f"{sysconfig.get_path('purelib')}/anyio/_threads.py"

PYTEST = (".venv/bin/pytest", 10, "<module>", None)
OURS = pytest_gilknock.__file__
CALLS = (f"{sysconfig.get_path('purelib')}/pluggy/_callers.py", 103, "_multicall", None)
PYTESTS_OWN = ("/src/pytest/src/_pytest/runner.py", 3, "f", None)
"""In the repository of pytest itself, where pytest is the program."""

ENCODE = (JSON, 200, "JSONEncoder.encode", None)
ARCHIVE = ("/src/svc/store.py", 14, "archive", None)


DOCTEST = ("<doctest svc.store[5]>", 2, "burn", None)


def frame(raw):
    return Frame(*raw)


@pytest.mark.parametrize(
    ("stack", "place"),
    [
        ([ARCHIVE], Place(frame(ARCHIVE), None)),
        ([(*ARCHIVE[:3], "zlib.compress")], Place(frame(ARCHIVE), "zlib.compress")),
        ([ENCODE, ARCHIVE], Place(frame(ARCHIVE), "encoder.JSONEncoder.encode")),
        ([(*ENCODE[:3], "str.join"), ARCHIVE], Place(frame(ARCHIVE), "str.join")),
        ([("", 0, "<GC>", None), ENCODE, ARCHIVE], Place(frame(ARCHIVE), "<GC>")),
        ([("", 0, "<GC>", None)], Place(None, "<GC>")),
        ([ENCODE, ("", 0, "<more>", None)], Place(frame(ENCODE), None)),
        ([(LIBRARY, 3, "run", None), ENCODE], Place(Frame(LIBRARY, 3, "run"), None)),
        (
            [ENCODE, (LIBRARY, 3, "run", None), (LIBRARY, 9, "main", None)],
            Place(Frame(LIBRARY, 3, "run"), "encoder.JSONEncoder.encode"),
        ),
        (
            [ENCODE, (LIBRARY, 3, "run", None), PYTEST],
            Place(Frame(LIBRARY, 3, "run"), "encoder.JSONEncoder.encode"),
        ),
        ([ENCODE, (OURS, 3, "wait", None)], Place(frame(ENCODE), None)),
        ([(OURS, 3, "measure", None), CALLS, PYTEST], Place(AROUND, None)),
        ([(*CALLS[:3], "str.join"), PYTEST], Place(AROUND, "str.join")),
        ([("", 0, "<GC>", None), (OURS, 3, "measure", None), CALLS], Place(AROUND, "<GC>")),
        ([DOCTEST, ENCODE, PYTEST], Place(frame(DOCTEST), None)),
        ([ENCODE, CALLS], Place(AROUND, "encoder.JSONEncoder.encode")),
        (
            [(OURS, 3, "f", None), (LIBRARY, 3, "run", None), CALLS],
            Place(Frame(LIBRARY, 3, "run"), "pytest_gilknock.f"),
        ),
        ([(OURS, 3, "f", None), ARCHIVE, CALLS], Place(frame(ARCHIVE), "pytest_gilknock.f")),
        ([PYTESTS_OWN, CALLS], Place(frame(PYTESTS_OWN), None)),
        ([], Place(None, None)),
    ],
)
def test_a_stack_is_named_by_its_first_own_frame(stack, place):
    assert place_of(stack_of(tuple(stack))) == place


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/src/svc/store.py", True),
        ("tests/test_a.py", True),
        (JSON, False),
        (LIBRARY, False),
        ("/usr/lib/python3/dist-packages/yaml/reader.py", False),
        ("/opt/other/lib/python3.12/threading.py", False),
        ("C:\\Python312\\Lib\\site-packages\\x.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("/work/project/.venv/bin/pytest", False),
        (".venv/bin/py.test", False),
        ("C:\\work\\.venv\\Scripts\\pytest.exe", False),
        ("/work/project/bin/serve.py", True),
        ("<string>", False),
        ("", False),
    ],
)
def test_own_frames_are_of_neither_the_standard_library_nor_a_package(file, own):
    assert Frame(file, 1, "f").own is own


def test_this_package_is_never_the_program():
    assert not Frame(pytest_gilknock.__file__, 1, "f").own


@pytest.mark.parametrize(
    ("file", "short"),
    [
        ("/work/project/svc/store.py", "svc/store.py"),
        ("/work/project2/svc/store.py", "/work/project2/svc/store.py"),
        ("/work/project/.venv/lib/python3.12/site-packages/x/y.py", "site-packages/x/y.py"),
        ("/usr/lib/python3.12/json/encoder.py", "json/encoder.py"),
        ("/usr/lib/python3/dist-packages/yaml/reader.py", "dist-packages/yaml/reader.py"),
        ("svc/store.py", "svc/store.py"),
        ("<string>", "<string>"),
    ],
)
def test_paths_are_printed_from_where_they_mean_something(file, short):
    assert shorten(file, "/work/project") == short


def test_a_path_without_a_root_stays():
    assert shorten("/src/a.py", "") == "/src/a.py"
    assert shorten("/a.py", "/") == "a.py"


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        ("count.<locals>.<genexpr>", "count"),
        ("count.<locals>.<genexpr>.<listcomp>", "count"),
        ("Pool.run.<locals>.<dictcomp>", "Pool.run"),
        ("count.<locals>.<lambda>", "count.<locals>.<lambda>"),
        ("<genexpr>", "<genexpr>"),
    ],
)
def test_a_comprehension_is_a_part_of_its_function(function, shown):
    stack = stack_of((("/src/app.py", 3, function, None),))
    assert place_of(stack).frame == Frame("/src/app.py", 3, shown)
    assert stack[0].function == function
