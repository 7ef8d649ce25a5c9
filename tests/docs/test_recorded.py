"""What the documentation quotes of its examples' output is what they print."""

import re
import sys
from pathlib import Path

import pytest
from support.inner import exact

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

from record import EXAMPLES, RECORDED  # noqa: E402


@exact
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_is_recorded_of_it(name):
    recorded, printed = RECORDED.joinpath(f"{name}.txt").read_text("utf-8"), EXAMPLES[name].run()
    for pattern in EXAMPLES[name].shows:
        assert re.search(pattern, recorded), f"recorded/{name}.txt has no {pattern!r}"
        assert re.search(pattern, printed), f"{pattern!r} is not in\n{printed}"


def test_every_record_is_an_examples():
    assert {path.stem for path in RECORDED.glob("*.txt")} == set(EXAMPLES)
