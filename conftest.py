"""Collects the Python examples of the documentation; `tests/conftest.py` is for the tests."""

from contextlib import suppress

collect_ignore = ["docs/examples"]  # run by tests/docs, some of them made to fail

with suppress(ImportError):  # the tests of the core need nothing but pytest
    from sybil import Document, Example, Sybil
    from sybil.example import NotEvaluated
    from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

    class Page(Document):
        """Examples that build on those before them, which a worker of pytest-xdist may not have."""

        def __init__(self, text: str, path: str) -> None:
            super().__init__(text, path)
            self._begun: set[int] = set()
            self.push_evaluator(self._evaluate_those_before)

        def _evaluate_those_before(self, example: Example) -> None:
            self._begun.add(example.start)
            for earlier in self.examples():
                if earlier.start < example.start and earlier.start not in self._begun:
                    earlier.evaluate()
            raise NotEvaluated

    pytest_collect_file = Sybil(
        parsers=[PythonCodeBlockParser(), SkipParser()],
        patterns=["README.md", "docs/**/*.md"],
        document_types={".md": Page},
    ).pytest()
