"""Directives that take the reference of options, ini keys, markers and commands from the plugin.

``gilknock-options``, ``gilknock-ini-keys``, ``gilknock-markers`` and ``gilknock-commands`` have no
arguments. They ask the plugin's own declarations, so that the site says what ``--help`` says.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stdout, suppress
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pytest_gilknock import cli, options, plugin


class Option(NamedTuple):
    flag: str
    metavar: str | None
    text: str


class IniKey(NamedTuple):
    name: str
    kind: str
    text: str


class Declared:
    """Stands in for pytest's parser, and keeps what is declared."""

    def __init__(self) -> None:
        self.options: list[Option] = []
        self.ini_keys: list[IniKey] = []
        options.declare(self)  # type: ignore[arg-type]

    def getgroup(self, name: str, description: str) -> Declared:
        return self

    def addoption(self, flag: str, *, help: str, metavar: str | None = None, **_: Any) -> None:
        self.options.append(Option(flag, metavar, help.replace("%%", "%")))

    def addini(self, name: str, help: str, *, type: Any, default: Any) -> None:
        kinds = {"bool": "true or false", "linelist": "lines"}
        self.ini_keys.append(IniKey(name, kinds.get(type, "text"), help))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


class FromThePlugin(SphinxDirective):
    """Parses the text that ``lines`` gives as if it stood in the page."""

    def lines(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        text = "\n".join(self.lines())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Options(FromThePlugin):
    def lines(self) -> list[str]:
        declared = Declared()
        keys = {key.name for key in declared.ini_keys}
        found = []
        for flag, metavar, text in declared.options:
            key = flag.removeprefix("--").replace("-", "_")
            found += [f"```{{option}} {flag}{'=' + metavar if metavar else ''}", _sentence(text)]
            found += ["", f"Ini key: {{confval}}`{key}`."] if key in keys else []
            found += ["```", ""]
        return found


class IniKeys(FromThePlugin):
    def lines(self) -> list[str]:
        declared = Declared()
        flags = {option.flag for option in declared.options}
        found = []
        for name, kind, text in declared.ini_keys:
            flag = options.flag(name)
            if flag in flags:
                text = text.replace(f"see {flag}", f"see {{option}}`{flag}`", 1)
            found += [f"```{{confval}} {name}", f":type: {kind}", "", _sentence(text), "```", ""]
        return found


class Markers(FromThePlugin):
    def lines(self) -> list[str]:
        found = []
        for text in plugin.MARKERS.values():
            signature, _, meaning = text.partition(": ")
            found += [f"```{{py:decorator}} pytest.mark.{signature}"]
            found += [_sentence(meaning.rstrip(".")), "```", ""]
        return found


class Commands(FromThePlugin):
    def lines(self) -> list[str]:
        found = []
        for command in re.findall(r"^    (\w+) ", self._help(), re.MULTILINE):
            found += [
                f"## `{command}`",
                "",
                "```text",
                *self._help(command).splitlines(),
                "```",
                "",
            ]
        return found

    @staticmethod
    def _help(*command: str) -> str:
        os.environ["COLUMNS"] = "100"  # argparse asks for it
        with redirect_stdout(io.StringIO()) as printed, suppress(SystemExit):
            cli.main([*command, "--help"])
        return printed.getvalue()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("gilknock-options", Options)
    app.add_directive("gilknock-ini-keys", IniKeys)
    app.add_directive("gilknock-markers", Markers)
    app.add_directive("gilknock-commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
