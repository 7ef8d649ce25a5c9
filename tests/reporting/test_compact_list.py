import sys

import pytest
from support.scripted import raw

from pytest_gilknock.reporting.compact_list import CompactList


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 1_000])
def test_it_gives_back_what_was_put_in_and_in_order(count):
    values = [
        (f"test_{number}", "passed", {"raw": raw(wait=number / 3)}) for number in range(count)
    ]
    packed = CompactList()
    for value in values:
        packed.append(value)
    assert list(packed) == values
    assert [packed[place] for place in range(count)] == values


def test_it_keeps_what_cannot_be_packed():
    class Name(str):
        __slots__ = ()

    packed = CompactList()
    for number in range(120):
        packed.append([Name("odd") if number == 70 else "plain", number])
    assert [number for _, number in packed] == list(range(120))
    assert [name for name, _ in packed].count("odd") == 1


def test_readings_take_a_fraction_of_their_memory():
    def size(value: object) -> int:
        parts: list[object] = []
        if isinstance(value, dict):
            parts = list(value.values())
        elif isinstance(value, list | tuple):
            parts = list(value)
        return sys.getsizeof(value) + sum(map(size, parts))

    packed = CompactList()
    for number in range(1_000):
        packed.append((f"tests/test_module.py::test_number[{number}]", "passed", {"raw": raw()}))
    assert size(packed._batches) / 1_000 <= 460 < size(raw()) / 3
