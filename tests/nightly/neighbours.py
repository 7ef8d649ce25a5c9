"""Beside each plugin and tool that people use: are outcomes the same, and is every reading there?

    python tests/nightly/neighbours.py                 # all rows
    python tests/nightly/neighbours.py xdist timeout   # those whose names begin so
    python tests/nightly/neighbours.py --folder KEPT   # keep environments and outputs there

A row has an environment of its own, with the wheel of this tree. Its suites run twice, without
this plugin and measured. The run of a row whose outcomes differ is repeated, up to ``--rounds``
times: an outcome differs if it has never come up without the plugin, or always has and never does
with it. Outcomes are the reports of all phases, the warnings and the exit status. A reading is
missing if a test's call was reported and ``--gil-json`` has no reading of the test.

Returns 1 if an outcome differs, a reading is missing, or a row does not show what it should.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import environments
from environments import BARE, MEASURED, ROOT, SUITES, Run, differing

PYTEST = "{python} -m pytest"


class Row(NamedTuple):
    name: str
    requirements: str = "pytest"  # of the first of them the version is printed
    arguments: str = ""
    suites: str = "everyday"
    command: str = PYTEST
    environment: tuple[tuple[str, str], ...] = ()
    killed: bool = False  # the run ends its own process, and nothing is written
    example: str = ""  # a folder of docs/examples whose files are there, too
    since: tuple[int, int] = (3, 10)  # the CPython that the neighbour needs
    shows: str = ""  # a pattern of what the measured run prints


ROWS = [
    Row("pytest 7.4", "pytest==7.4.*"),
    Row("pytest 8.0", "pytest==8.0.*"),
    Row("pytest 8", "pytest==8.*"),
    Row("pytest 9", "pytest>=9"),
    Row("xdist load", "pytest-xdist", "-n2"),
    Row("xdist loadscope", "pytest-xdist", "-n2 --dist=loadscope"),
    Row("xdist worksteal", "pytest-xdist", "-n2 --dist=worksteal"),
    Row("xdist each", "pytest-xdist", "--dist=each --tx=2*popen"),
    Row("xdist, a worker crashes", "pytest-xdist", "-n1", "crashing"),
    Row("asyncio", "pytest-asyncio", suites="coroutines_asyncio everyday"),
    Row("anyio", "anyio trio pytest", "-p anyio", "coroutines_anyio everyday"),
    Row("trio", "pytest-trio", suites="coroutines_trio everyday"),
    Row("uvloop", "uvloop pytest", suites="loops_uvloop"),
    Row("gevent", "gevent pytest", suites="greenlets"),
    Row(
        "gevent, patched",
        "gevent pytest",
        suites="greenlets",
        command="{python} -m gevent.monkey --module pytest",
    ),
    Row("timeout, signal", "pytest-timeout", "--timeout-method=signal", "hanging everyday"),
    Row("timeout, thread", "pytest-timeout", "--timeout-method=thread", "hanging", killed=True),
    Row("timeout, xdist", "pytest-timeout pytest-xdist", "--timeout-method=thread -n1", "hanging"),
    Row("cov", "pytest-cov", "--cov=."),
    Row("cov, branches, xdist", "pytest-cov pytest-xdist", "--cov=. --cov-branch -n2"),
    Row(
        "cov, sysmon",
        "pytest-cov",
        "--cov=.",
        environment=(("COVERAGE_CORE", "sysmon"),),
        since=(3, 12),
    ),
    Row("rerunfailures", "pytest-rerunfailures", "--reruns=3", "unsteady everyday"),
    Row("rerunfailures, xdist", "pytest-rerunfailures pytest-xdist", "--reruns=3 -n2", "unsteady"),
    Row("flaky", "flaky pytest", "--force-flaky --max-runs=3", "unsteady everyday"),
    Row("retry", "pytest-retry", "--retries=3", "unsteady"),
    Row("randomly", "pytest-randomly", "-p randomly"),
    Row("random-order", "pytest-random-order", "--random-order --random-order-seed=1"),
    Row("benchmark", "pytest-benchmark", suites="benchmarked"),
    Row("codspeed", "pytest-codspeed", "--codspeed", "benchmarked"),
    Row("html", "pytest-html", "--html=report.html"),
    Row("json-report", "pytest-json-report", "--json-report"),
    Row("reportlog", "pytest-reportlog", "--report-log=log.jsonl"),
    Row("allure", "allure-pytest", "--alluredir=allure"),
    Row("teamcity, as PyCharm has it", "teamcity-messages pytest", "--teamcity"),
    Row("run-parallel", "pytest-run-parallel", "--parallel-threads=3"),
    Row("freethreaded", "pytest-freethreaded", "--threads=2 --iterations=3", since=(3, 13)),
    Row("repeat", "pytest-repeat", "--count=3"),
    Row("subtests", "pytest-subtests", suites="parts everyday"),
    Row("subtests of pytest 9", "pytest>=9", suites="parts everyday"),
    Row(
        "django",
        "pytest-django django",
        suites="models_django",
        environment=(("DJANGO_SETTINGS_MODULE", "test_models_django"),),
    ),
    Row("hypothesis", "hypothesis pytest", suites="properties_hypothesis"),
    Row("memray", "pytest-memray", "--memray", "memory everyday"),
    Row("forked", "pytest-forked pytest<9", "--forked"),
    Row("forked, a test crashes", "pytest-forked pytest<9", "--forked", "crashing"),
    Row("sugar", "pytest-sugar"),
    Row("rich", "pytest-rich", "--rich"),
    Row("instafail", "pytest-instafail", "--instafail"),
    Row("order", "pytest-order", "--indulgent-ordering"),
    Row("split", "pytest-split", "--splits=2 --group=1"),
    Row("profiling", "pytest-profiling", "--profile"),
    Row("ddtrace", "ddtrace pytest", "--ddtrace", environment=(("DD_TRACE_ENABLED", "true"),)),
    Row(
        "opentelemetry",
        "pytest-opentelemetry",
        "--export-traces",
        environment=(("OTEL_TRACES_EXPORTER", "console"),),
        example="opentelemetry",
        shows='"gil_wait_s": ',
    ),
    Row("tox", "tox pytest", command="{python} -m tox -q -e plain --"),
    Row("nox", "nox pytest", command="{python} -m nox -R -s plain --"),
]

# tox and nox run pytest in the environment of the row.
SETTINGS = {
    "tox.ini": """\
[tox]
skipsdist = true
env_list = plain
[testenv]
skip_install = true
allowlist_externals = *
pass_env = *
commands = {python} -m pytest {{posargs}}
""",
    "noxfile.py": """\
import nox
@nox.session(venv_backend="none")
def plain(session):
    session.run({python!r}, "-m", "pytest", *session.posargs)
""",
    "pytest.ini": "[pytest]\n",
}


def prepare(folder: Path, row: Row, python: Path) -> None:
    """Make the folder in which the row's suites run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in row.suites.split():
        text = SUITES.joinpath(f"{name}.py").read_text("utf-8")
        folder.joinpath(f"test_{name}.py").write_text(text, "utf-8")
    if row.example:
        shutil.copytree(ROOT / "docs" / "examples" / row.example, folder, dirs_exist_ok=True)
    for name, text in SETTINGS.items():
        folder.joinpath(name).write_text(text.format(python=str(python)), "utf-8")


def once(folder: Path, row: Row, python: Path, options: tuple[str, ...]) -> Run:
    """Run the row's suites once, in a folder that no run before it has used."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        prepare(Path(name), row, python)
        command = row.command.format(python=python).split()
        arguments = ["-p", "recorder", *options, *row.arguments.split()]
        done = environments.run(
            [*command, *arguments], Path(name), environment=dict(row.environment), timeout=300
        )
    kind = "bare" if options == BARE else "measured"
    folder.joinpath(f"{kind}.txt").write_text(done.text, "utf-8")
    return done


def compare(folder: Path, row: Row, wheel: Path, rounds: int) -> tuple[str, bool]:
    """Return the row of the table, with what differs below it, and whether all is well."""
    python = environments.make_environment(folder / "venv", *row.requirements.split(), str(wheel))
    version = environments.version_in(python, row.requirements.split()[0])
    pairs: list[tuple[Run, Run]] = []
    differ: list[str] = []
    while not pairs or (differ and len(pairs) < rounds):
        pairs.append((once(folder, row, python, BARE), once(folder, row, python, MEASURED)))
        differ, vary = differing(pairs)
    last = pairs[-1][1]
    missing = sorted(last.called - last.readings)
    shown = re.search(row.shows, last.text) is not None
    well = not differ and not missing and shown and bool(last.called or row.killed)
    same = f"{len(differ)} differ" if differ else "the same"
    lines = [
        f"| {row.name} | {version} | {len(last.outcomes)}, {same}"
        f"{f', {len(vary)} vary' if vary else ''} | "
        f"{len(last.called) - len(missing)} of {len(last.called)} "
        f"{', '.join(sorted(last.methods))} |"
    ]
    for outcome in differ[:10]:
        side = "only measured" if outcome in pairs[-1][1].outcomes else "only bare"
        lines.append(f"    {side}: {outcome}")
    lines += [f"    no reading: {nodeid}" for nodeid in missing]
    if not shown:
        lines.append(f"    it does not show {row.shows!r}: {folder / 'measured.txt'}")
    if not (last.called or row.killed):
        lines.append(f"    no test was called: {folder / 'measured.txt'}")
    return "\n".join(lines), well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="how names of rows begin")
    parser.add_argument("--folder", type=Path, help="keep environments and outputs there")
    parser.add_argument("--wheel", type=Path, help="a wheel that is built already")
    parser.add_argument("--rounds", type=int, default=3, help="of a row that differs (%(default)s)")
    options = parser.parse_args()
    chosen = [row for row in ROWS if row.name.startswith(tuple(options.rows or [""]))]
    bad = []
    with environments.workplace(options.folder, options.wheel) as (folder, wheel):
        print("| beside | version | outcomes | readings |\n| --- | --- | --- | --- |", flush=True)
        for row in chosen:
            if sys.version_info < row.since:
                print(f"| {row.name} | needs CPython {'.'.join(map(str, row.since))} | | |")
                continue
            try:
                text, well = compare(
                    folder / row.name.replace(" ", "_"), row, wheel, options.rounds
                )
            except subprocess.CalledProcessError as error:
                text, well = f"| {row.name} | cannot be installed: {error} | | |", False
            print(text, flush=True)
            if not well:
                bad.append(row.name)
    print(f"{len(chosen)} rows, {len(bad)} to be looked at: {', '.join(bad) or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
