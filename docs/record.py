"""Runs the commands of the documentation's examples, and keeps what they print in `recorded/`.

`python docs/record.py [NAME...]` records anew, in some 15 s, best on an idle machine: `without-gil`
with a free-threaded Python, all others with a GIL. A test runs them all
(`tests/docs/test_recorded.py`), and finds in each run what the recorded text is quoted for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
RECORDED = DOCS / "recorded"
LEFT_OUT = re.compile(r"((platform|rootdir|plugins)[: ]|  File .*(site-packages|<frozen)).*\n")


@dataclass(frozen=True)
class Example:
    """A command, run in a folder that has the files of `projects`, the later ones over the others.

    `shows` are patterns that its output has in every run.
    """

    projects: tuple[str, ...]
    command: tuple[str, ...]
    shows: tuple[str, ...]

    def run(self) -> str:
        """Return what the command prints, standard error included.

        Without lines on the machine and on pytest's own frames, and with other paths.
        """
        with tempfile.TemporaryDirectory() as folder:
            for project in self.projects:
                shutil.copytree(DOCS / "examples" / project, folder, dirs_exist_ok=True)
            done = subprocess.run(
                (sys.executable, *self.command),
                cwd=folder,
                env={**os.environ, "COLUMNS": "100", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
            )
        printed = LEFT_OUT.sub("", done.stdout)
        for path, name in ((folder, "/project"), (sys.base_prefix, "/usr"), (str(DOCS), "docs")):
            printed = printed.replace(path, name)
        return printed


PYTEST = ("-m", "pytest", "-p", "pytest_gilknock.plugin", "-p", "no:cacheprovider", "--color=no")
TABLE = r"contention +wait +max wait +threads +(limit +)?(blame +)?test\n"

EXAMPLES = {
    "without-gil": Example(  # recorded with a free-threaded Python; any other has nothing of it
        ("without_gil",), (*PYTEST, "--gil-report", "-v"), (r"3 passed",)
    ),
    "uploads-bare": Example(("uploads",), PYTEST, (r"2 passed",)),
    "uploads-report": Example(
        ("uploads",),
        (*PYTEST, "--gil-report"),
        (
            TABLE,
            r"s +2 .*test_uploads_beside_a_heartbeat\n",
            r"uploads\.py:6 checksum +MainThread\n",
            r"2 tests measured, method exact",
        ),
    ),
    "uploads-limit": Example(
        ("uploads", "uploads_limited"),
        PYTEST,
        (
            r"GIL limit exceeded: heartbeat waited .* in test_uploads\.py:\d+ .*,"
            r" (?:mostly )?kept by uploads\.py:6 checksum in MainThread; limit 50 ms",
            r"  blame +.*\n +uploads\.py:6 checksum in MainThread: threads waited ",
            r"1 failed, 1 passed",
        ),
    ),
    "uploads-mended": Example(
        ("uploads", "uploads_limited", "uploads_mended"),
        (*PYTEST, "--gil-report"),
        (r"2 tests measured, method exact", r"2 passed"),
    ),
    "stuck": Example(
        ("stuck",),
        (*PYTEST, "--gil-report"),
        (
            r"test_stuck\.py\", line 7 in poll",
            r"Stall: no thread could get the GIL for .*held at .*test_stuck\.py:7 poll by poller",
            r"1 passed",
        ),
    ),
    "workers": Example(
        ("workers",),
        ("workers.py",),
        (
            r"work +workers +wall \(s\) +contention +wait \(s/s\)\n",
            r"wait_for_a_reply +threads +[\d.]+ +0\.[0-4]",
            r"compute_in_python +threads +[\d.]+ +(0\.[5-9]|1\.0)",
            r"hash_a_password +threads +[\d.]+ +0\.[0-4]",
        ),
    ),
}


def main(names: list[str]) -> None:
    """Record the examples of these names, or all of them."""
    for name in names or EXAMPLES:
        print(f"{name} ...", flush=True)
        (RECORDED / f"{name}.txt").write_text(EXAMPLES[name].run(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
