"""A JSON document with one test in a line, for people and for tools that compare lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def one_per_line(
    head: str, name: str, members: Iterable[str], *, brackets: str, indent: int
) -> Iterator[str]:
    """Yield the document in pieces: ``head``, then ``name`` with a line for each of its members.

    ``head`` is the text of an object that is not empty, indented by ``indent``, without the brace
    that closes it; ``brackets`` are those of ``name``.
    """
    pad = " " * indent
    yield f'{head},\n{pad}"{name}": {brackets[0]}'
    separator = "\n"
    for member in members:
        yield f"{separator}{2 * pad}{member}"
        separator = ",\n"
    yield f"\n{pad}{brackets[1]}\n}}\n" if separator != "\n" else f"{brackets[1]}\n}}\n"
