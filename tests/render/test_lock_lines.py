"""Waits for locks in lines that fit a terminal."""

import pytest
from support.scripted import lock_place, locks

from pytest_gilknock.model.locks import LOCK_KINDS
from pytest_gilknock.model.reading import locks_of
from pytest_gilknock.render.format import display_width
from pytest_gilknock.render.lock_lines import lock_lines

DEEP = "/src/" + "d" * 60 + ".py"


def lines_of(width: int, **changes: object) -> list[str]:
    reading = locks_of(locks(**changes))
    return list(lock_lines(reading, "", width=width))


@pytest.mark.parametrize("thread", ["w" * 70, "\u30b9\u30ec\u30c3\u30c9" * 10])
@pytest.mark.parametrize("width", [76, 80, 160])
def test_no_line_is_too_wide_and_none_loses_its_line_number_or_its_times(
    width: int, thread: str
) -> None:
    place = lock_place(DEEP, 12345, "f" * 40, 11, thread, 0.2)
    lines = lines_of(
        width,
        types=[(f"{name}{'t' * 70}", (9, 0.01 * name, 0.01)) for name in range(5, 1, -1)],
        threads=[(11, thread, dict.fromkeys(LOCK_KINDS, (9, 0.2, 0.1)))],
        victims={"objects": [place]},
        blame={"objects": [place]},
    )
    assert [line for line in lines if display_width(line) > width] == []
    text = " ".join(line.strip() for line in lines)
    assert text.count("d.py:12345 ") == 2
    assert text.count(": 200 ms") == 3, "the objects, and the two places"
    assert "the longest 30.0 ms (5ttt" in text
    assert "ttt... 50.0 ms, 4ttt" in text
    assert "ttt... 30.0 ms, 1 more type)" in text
    assert text.endswith(
        "...: objects 200 ms, stopped world 200 ms, interpreter 200 ms, locks of the program 200 ms"
    )


def test_a_line_that_fits_is_one_line() -> None:
    assert lines_of(80)[0] == (
        "objects: 200 ms in 40 waits, the longest 30.0 ms (dict 150 ms, list 50.0 ms)"
    )


def test_places_that_are_not_shown_are_counted() -> None:
    places = [
        lock_place("/src/app/cache.py", line, "put", 11, "MainThread", 0.1) for line in (1, 2, 3)
    ]
    lines = lines_of(80, victims={"objects": places}, blame={"objects": places[:2]})
    assert lines[1:5] == [
        "  waited /src/app/cache.py:1 put in MainThread: 100 ms",
        "  (2 more places with less)",
        "  let go /src/app/cache.py:1 put in MainThread: 100 ms",
        "  (1 more place with less)",
    ]


def test_who_stopped_the_world_is_not_said_to_have_let_go() -> None:
    place = lock_place("/src/app/cache.py", 7, "collect", 11, "MainThread", 0.06)
    lines = lines_of(80, victims={}, blame={"stop_the_world": [place], "program": [place]})
    assert "  stopped by /src/app/cache.py:7 collect in MainThread: 60.0 ms" in lines
    assert "  let go /src/app/cache.py:7 collect in MainThread: 60.0 ms" in lines


def test_what_a_reading_had_no_room_for_is_told() -> None:
    lines = lines_of(80, victims_omitted=0.012, blame_omitted=0.5, threads_omitted=7)
    assert [line for line in lines if "no room" in line] == [
        "waited at places for which there was no room: 12.0 ms",
        "let go at places for which there was no room: 500 ms",
    ]
    assert lines[-1] == "(7 more threads that ended and made room)"


@pytest.mark.parametrize("omitted", [0.0, None])
def test_nothing_is_said_where_there_was_room_or_it_is_not_known(omitted: float | None) -> None:
    lines = lines_of(80, victims_omitted=omitted, blame_omitted=omitted)
    assert "room" not in " ".join(lines)


def test_threads_that_are_not_shown_are_counted() -> None:
    zero = dict.fromkeys(LOCK_KINDS, (0, 0.0, 0.0))
    threads = [
        (ident, f"worker-{ident}", {**zero, "program": (1, ident / 100, ident / 100)})
        for ident in range(1, 6)
    ]
    assert lines_of(80, threads=threads)[-2:] == [
        "thread worker-3: locks of the program 30.0 ms",
        "(2 more threads with less)",
    ]
