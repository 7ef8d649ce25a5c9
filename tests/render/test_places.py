import pytest
from support.scripted import blamed, reading

from pytest_gilknock.model.longest_wait import longest_wait_of
from pytest_gilknock.model.stack import place_of, stack_of
from pytest_gilknock.render.format import display_width
from pytest_gilknock.render.place_text import fit_place, place_text
from pytest_gilknock.render.places import (
    blame_lines,
    hold_lines,
    longest_wait_lines,
    longest_wait_text,
    victim_lines,
)

ROOT = "/work/project"
STORE = (f"{ROOT}/svc/store.py", 14, "archive", "zlib.compress")
PLACE = place_of(stack_of((STORE,)))
LONG = place_of(stack_of(((f"{ROOT}/{'d' * 50}/{'f' * 30}.py", 12345, "g" * 40, "x" * 30),)))


def test_a_place_is_a_line_of_the_project_and_what_it_calls():
    assert place_text(PLACE, ROOT) == "svc/store.py:14 archive > zlib.compress"


def test_a_place_without_a_frame():
    assert place_text(place_of(()), ROOT) == "(no Python frame)"
    collecting = place_of(stack_of((("", 0, "<GC>", None),)))
    assert place_text(collecting, ROOT) == "(no Python frame) > <GC>"


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (80, "svc/store.py:14 archive > zlib.compress"),
        (38, "svc/store.py:14 archive"),
        (24, "svc/store.py:14 archive"),
        (22, "store.py:14 archive"),
        (18, "store.py:14 arc..."),
        (14, "store.py:14"),
    ],
)
def test_a_narrow_place_keeps_its_line_number(width, text):
    assert fit_place(PLACE, ROOT, width) == text


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (80, "svc/store.py:14 Store.archive.<lambda>.<lambda>"),
        (41, "store.py:14 archive.<lambda>.<lambda>"),
        (36, "store.py:14 <lambda>.<lambda>"),
        (28, "store.py:14 <lambda>"),
        (18, "store.py:14 <la..."),
    ],
)
def test_a_narrow_place_keeps_the_innermost_function(width, text):
    nested = "Store.archive.<locals>.<lambda>.<locals>.<lambda>"
    place = place_of(stack_of(((STORE[0], 14, nested, None),)))
    assert fit_place(place, ROOT, width) == text


def test_a_narrow_place_keeps_the_name_of_a_package():
    package = place_of(stack_of(((f"{ROOT}/src/svc/__init__.py", 419, "get", None),)))
    assert fit_place(package, ROOT, 24) == "svc/__init__.py:419 get"


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (80, "svc/store.py:14 archive > <GC>"),
        (29, "store.py:14 archive > <GC>"),
        (25, "store.py:14 arc... > <GC>"),
        (20, "store.py:14 > <GC>"),
    ],
)
def test_a_narrow_place_keeps_that_garbage_is_collected(width, text):
    collecting = place_of(stack_of((("", 0, "<GC>", None), STORE)))
    assert fit_place(collecting, ROOT, width) == text


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (80, "svc/store.py:14 archive > <GC> and 2 more"),
        (38, "store.py:14 archive > <GC> and 2 more"),
        (37, "svc/store.py:14 archive > <GC>"),
    ],
)
def test_beside_garbage_that_is_collected_other_things_run(width, text):
    collecting = place_of(stack_of((("", 0, "<GC>", None), STORE)))._replace(more=2)
    assert fit_place(collecting, ROOT, width) == text


@pytest.mark.parametrize("width", range(20, 200))
def test_no_place_is_wider_than_its_room_or_without_its_line_number(width):
    collecting = LONG._replace(inside="<GC>", more=2)
    for place in (LONG, collecting):
        text = fit_place(place, ROOT, width)
        assert len(text) <= width
        assert ":12345" in text
    assert "> <GC>" in text


@pytest.mark.parametrize("width", range(24, 60))
def test_a_place_in_wide_characters_has_its_columns(width):
    place = place_of(stack_of(((f"{ROOT}/部品/語語語.py", 12345, "関数関数", "圧縮圧縮圧縮"),)))
    text = fit_place(place, ROOT, width)
    assert display_width(text) <= width
    assert ":12345" in text
    assert (text == "部品/語語語.py:12345 関数関数") is (29 <= width < 44)


@pytest.mark.parametrize("width", [80, 160])
def test_lines_of_blame_keep_line_number_and_time(width):
    row = (((LONG.frame.file, 12345, "g" * 40, "x" * 30),), 1, "w" * 70, 0.1, 25, 0.0, 0)
    victim = (((LONG.frame.file, 12345, "g" * 40, None),), 1, "w" * 70, 0.1, 0.05, 9)
    one = reading(blame=[row], victims=[victim])
    blame = [*blame_lines(one, ROOT, most=3, width=width)]
    assert ":12345" in blame[0]
    assert blame[-1].endswith("threads waited 100 ms (25 looks)")
    waited = [*victim_lines(one, ROOT, most=3, width=width)]
    assert ":12345" in waited[0]
    assert waited[-1].endswith("waited 100 ms, longest 50.0 ms")
    assert max(map(len, blame + waited)) <= width


def test_what_was_measured_goes_below_where_it_would_cut_off_the_function():
    row = ((STORE,), 1, "ThreadPoolExecutor-0_0", 0.1, 25, 0.0, 0)
    hold = ((STORE,), 1, "ThreadPoolExecutor-0_0", 0.08, 0.03, 4)
    one = reading(blame=[row], victims=[((STORE,), 1, "MainThread", 0.1, 0.05, 9)], holds=[hold])
    lines = [blame_lines, victim_lines, hold_lines]
    assert [[*of(one, ROOT, most=3, width=69)] for of in lines] == [
        [
            "svc/store.py:14 archive > zlib.compress in ThreadPoolExecutor-0_0:",
            "    threads waited 100 ms (25 looks)",
        ],
        ["MainThread in svc/store.py:14 archive: waited 100 ms, longest 50.0 ms"],
        [
            "svc/store.py:14 archive > zlib.compress in ThreadPoolExecutor-0_0:",
            "    longest 30.0 ms (4 holds, 80.0 ms)",
        ],
    ]


def test_what_is_not_listed_is_counted():
    rows = [blamed(f"/{n}.py", n, "f", 1, "w", 0.05, 5) for n in range(1, 6)]
    rows.append(blamed("/few.py", 1, "f", 1, "w", 0.05, 2))
    lines = list(blame_lines(reading(blame=rows, blame_omitted=(7, 0.0, 0.0)), ROOT, most=3))
    assert len(lines) == 4
    assert lines[-1] == "(10 more places with less, or fewer than 3 looks)"


def test_hand_overs_are_told_where_they_are_much_of_the_wait():
    row = blamed("/a.py", 1, "f", 1, "w", 0.05, 5)
    told = [
        list(blame_lines(reading(blame=[row], wait=0.1, hand_over=h), ROOT, most=3))[1:]
        for h in (None, 0.01, 0.04)
    ]
    assert told == [
        [],
        [],
        ["(40.0 ms, 40%, passed while the GIL was free and the next thread woke up)"],
    ]


def test_why_nobody_saw_the_holder_is_told_where_it_is_known():
    row = blamed("/a.py", 1, "f", 1, "w", 0.05, 5)
    told = [
        list(
            blame_lines(
                reading(blame=[row], unlooked=0.04, unlooked_reason=reason), ROOT, most=3, width=200
            )
        )[1:]
        for reason in (None, "there is no room for more")
    ]
    assert told == [
        [],
        ["(40.0 ms passed while nobody saw where the GIL was held: there is no room for more)"],
    ]


def test_whole_stacks_where_they_are_wanted():
    row = ((STORE, (f"{ROOT}/tests/test_svc.py", 3, "test", None)), 1, "w", 0.1, 5, 0.0, 0)
    assert list(blame_lines(reading(blame=[row]), ROOT, most=3, stacks=True))[1:] == [
        "    svc/store.py:14 archive > zlib.compress",
        "    tests/test_svc.py:3 test",
    ]


def test_pytests_frames_around_a_test_are_one_line_of_its_stack():
    site = "/env/lib/python3.13/site-packages"
    around = (
        (f"{site}/_pytest/python.py", 187, "pytest_pyfunc_call", None),
        (f"{site}/pluggy/_callers.py", 80, "_multicall", None),
        ("/env/bin/pytest", 8, "<module>", None),
    )
    row = ((STORE, *around), 1, "w", 0.1, 5, 0.0, 0)
    assert list(blame_lines(reading(blame=[row]), ROOT, most=3, stacks=True))[1:] == [
        "    svc/store.py:14 archive > zlib.compress",
        "    (pytest)",
    ]


def test_the_longest_wait_is_a_sentence():
    select = (f"{ROOT}/svc/loop.py", 7, "run", "select.epoll.poll")
    parse = (f"{ROOT}/svc/parsing.py", 9, "parse_batch", None)
    raw = (0.067, 0.2, False, 11, "MainThread", (select,), (parse,), 12, "AnyIO worker thread")
    longest = longest_wait_of(raw, {})
    assert longest is not None
    assert longest_wait_text(longest, ROOT) == (
        "MainThread waited 67.0 ms in svc/loop.py:7 run > select.epoll.poll,"
        " kept by svc/parsing.py:9 parse_batch in AnyIO worker thread"
    )
    assert list(longest_wait_lines(longest, ROOT, 67)) == [
        "MainThread waited 67.0 ms in svc/loop.py:7 run > select.epoll.poll,",
        "kept by svc/parsing.py:9 parse_batch in AnyIO worker thread",
    ]
    assert list(longest_wait_lines(longest, ROOT, 200)) == [longest_wait_text(longest, ROOT)]
    unseen = longest_wait_of((0.01, 0.0, True, 0, None, (), (), 0, None), {})
    assert unseen is not None
    assert longest_wait_text(unseen, ROOT) == "gilknock's own thread waited 10.0 ms"


@pytest.mark.parametrize(
    ("places", "lines"),
    [
        (((), ()), ["vvvvvvvvvvvvvvvvvvvvvvvvvvvvv... waited 67.0 ms,", "kept by AnyIO worker"]),
        (
            ((STORE,), (STORE,)),
            [
                "vvvvvvvvvvvvvvvvvvvvvvvvvvvvv... waited 67.0 ms in store.py:14,",
                "kept by svc/store.py:14 archive > zlib.compress in AnyIO worker",
            ],
        ),
    ],
)
def test_the_longest_wait_in_a_narrow_terminal_keeps_its_time_and_line_numbers(places, lines):
    longest = longest_wait_of((0.067, 0.2, False, 11, "v" * 70, *places, 12, "AnyIO worker"), {})
    assert longest is not None
    assert list(longest_wait_lines(longest, ROOT, 64)) == lines
