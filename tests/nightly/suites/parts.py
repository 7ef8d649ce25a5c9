"""Tests with parts of their own outcome."""


def test_parts(subtests):
    for part in range(3):
        with subtests.test(part=part):
            assert part != 1


def test_no_part_fails(subtests):
    with subtests.test("only"):
        pass
