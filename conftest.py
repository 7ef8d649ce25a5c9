"""Collects the Python examples of the documentation; `tests/conftest.py` is for the tests."""

from contextlib import suppress

collect_ignore = ["docs/examples"]  # run by tests/docs, some of them made to fail

with suppress(ImportError):  # the tests of the core need nothing but pytest
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

    pytest_collect_file = Sybil(
        parsers=[PythonCodeBlockParser(), SkipParser()],
        patterns=["README.md", "docs/**/*.md"],
    ).pytest()
