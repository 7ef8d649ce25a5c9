"""Markdown as GitHub and GitLab have it, from text that may come from outside. Pure."""

from __future__ import annotations

import re


def code(words: str) -> str:
    """Return ``words`` as a code span that neither backticks nor a table cell's end can break."""
    words = re.sub(r"\\(?=\|)", r"\\ ", words).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") or not words else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def prose(words: str) -> str:
    """Return ``words`` so that Markdown shows them as they are."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", words)
