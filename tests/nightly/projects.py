"""Suites of well-known projects, from PyPI, without the plugin and measured, and what it found.

    python tests/nightly/projects.py                          # all of them
    python tests/nightly/projects.py joblib scipy             # these
    python tests/nightly/projects.py --folder KEPT --rounds 3 # keep environments and reports there

Each project has an environment of its own, with the wheel of this tree. Its tests come with its
wheel, or from its source distribution. A row says how many outcomes differ, the time of the
measured run over that of the bare one (medians of the rounds; on an idle machine, or it says
nothing), and the first place of the report. Suites that come to no end without the plugin
(werkzeug's) are not among them. ``measured.txt`` in the project's folder is the report.

An outcome differs if it has never come up without the plugin, or always has and never does with it.
As suites have outcomes that vary anyway, a project whose outcomes differ has up to ``AGAIN`` rounds
more. Returns 1 if any differs then.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import environments
from environments import BARE, Run, differing

MEASURED = ("--gil-report", "--gil-json=readings.json")
AGAIN = 2  # rounds more, of a project whose outcomes differ


class Project(NamedTuple):
    name: str
    requirements: str  # the first of them is the project
    tests: str  # where they are: modules, or paths in the source distribution
    source: bool = False
    arguments: str = ""


PROJECTS = [
    Project("networkx", "networkx numpy scipy", "networkx.algorithms.tests networkx.classes"),
    Project(
        "joblib",
        "joblib numpy threadpoolctl",
        "joblib.test.test_parallel joblib.test.test_memory joblib.test.test_hashing",
        arguments="-k 'not (loky or multiprocessing or nested)'",
    ),
    Project("sympy", "sympy", "sympy.core.tests sympy.polys.tests.test_densearith"),
    Project(
        "pandas",
        "pandas hypothesis",
        "pandas.tests.io.parser.common pandas.tests.io.parser.test_multi_thread "
        "pandas.tests.io.parser.test_parallel_read",
    ),
    Project("scipy", "scipy hypothesis pooch", "scipy.spatial.tests.test_kdtree"),
    Project("numpy", "numpy hypothesis", "numpy.random.tests numpy.lib.tests numpy.fft.tests"),
    Project(
        "dask",
        "dask[array] pandas pyarrow",
        "dask.tests.test_threaded dask.tests.test_local dask.tests.test_order",
    ),
    Project(
        "tornado",
        "tornado",
        "tornado.test.concurrent_test tornado.test.ioloop_test tornado.test.web_test "
        "tornado.test.iostream_test tornado.test.simple_httpclient_test tornado.test.locks_test",
        arguments="-p no:logging -o python_files=*_test.py",
    ),
    Project("click", "click", "tests", source=True),
    Project(
        "urllib3",
        "urllib3 trustme tornado pysocks h2 pytest-timeout quart hypercorn trio httpx",
        "test",
        source=True,
    ),
    Project(
        "sqlalchemy", "sqlalchemy", "test/engine test/base", source=True, arguments="-p no:logging"
    ),
    Project("cachetools", "cachetools", "tests", source=True),
    Project("more-itertools", "more-itertools", "tests", source=True),
    Project("attrs", "attrs hypothesis cloudpickle", "tests", source=True),
    Project(
        "anyio",
        "anyio trio trustme truststore psutil hypothesis exceptiongroup pytest-mock uvloop",
        "tests/test_from_thread.py tests/test_to_thread.py tests/test_synchronization.py"
        " tests/test_taskgroups.py tests/test_eventloop.py",
        source=True,
    ),
    Project(
        "watchdog",
        "watchdog eventlet flaky pytest-timeout",
        "tests",
        source=True,
        arguments="-o addopts=",
    ),
]


def sources(folder: Path, project: Project, version: str) -> Path:
    """Fetch and unpack the source distribution of the installed version."""
    unpacked = folder / "source"
    if not unpacked.exists():
        wanted = f"{project.requirements.split()[0]}=={version}"
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-binary",
            ":all:",
        ]
        subprocess.run([*command, "-d", folder, wanted], check=True)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(folder / "unpacking", filter="data")
        (top,) = folder.joinpath("unpacking").iterdir()
        shutil.move(top, unpacked)
        for name in ("src", "lib", project.name):  # the installed package is to be tested
            shutil.rmtree(unpacked / name, ignore_errors=True)
    return unpacked


def once(folder: Path, project: Project, python: Path, version: str, kind: str) -> Run:
    """Run the project's tests; the output stays in the folder."""
    options = {"bare": BARE, "measured": MEASURED}[kind]
    common = ["-p", "recorder", "-p", "no:cacheprovider", *shlex.split(project.arguments)]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        if project.source:
            shutil.copytree(sources(folder, project, version), place, dirs_exist_ok=True)
            tests = project.tests.split()
        else:
            tests = ["--pyargs", *project.tests.split()]
        command = [str(python), "-m", "pytest", *common, *options, *tests]
        done = environments.run(command, place, timeout=1500)
        if kind == "measured" and (place / "readings.json").exists():
            shutil.copy(place / "readings.json", folder)
    folder.joinpath(f"{kind}.txt").write_text(done.text, "utf-8")
    return done


def found(text: str) -> str:
    """The first place of those that kept threads waiting, over all tests."""
    _, there, rest = text.partition("held by, over all tests")
    return re.sub(r"\s{2,}", "  ", rest.splitlines()[1].strip()) if there else "none"


def compare(folder: Path, project: Project, wheel: Path, rounds: int) -> tuple[str, bool]:
    """Return the row of the table, with what differs below it, and whether nothing does."""
    requirements = (*project.requirements.split(), "pytest", str(wheel))
    python = environments.make_environment(folder / "venv", *requirements)
    version = environments.version_in(python, requirements[0])
    pairs: list[tuple[Run, Run]] = []
    differ: list[str] = []
    while len(pairs) < rounds or (differ and len(pairs) < rounds + AGAIN):
        sides = [once(folder, project, python, version, kind) for kind in ("bare", "measured")]
        pairs.append((sides[0], sides[1]))
        differ, vary = differing(pairs)
    bare, measured = (
        statistics.median(one.seconds for one in side) for side in zip(*pairs, strict=True)
    )
    last = pairs[-1][1]
    missing = last.called - last.readings
    lines = [
        f"| {project.name} | {version} | {len(last.called)} | {len(differ)}, {len(vary)} vary | "
        f"{len(missing)} | {bare:.1f} | {measured:.1f} | {measured / bare:.2f} |",
        f"    held by: {found(last.text)}",
    ]
    lines += [f"    {outcome}" for outcome in differ]
    return "\n".join(lines), not differ and bool(last.called)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("projects", nargs="*", metavar="PROJECT")
    parser.add_argument("--folder", type=Path, help="keep environments and reports there")
    parser.add_argument("--wheel", type=Path, help="a wheel that is built already")
    parser.add_argument("--rounds", type=int, default=1, help="bare and measured (%(default)s)")
    options = parser.parse_args()
    bad = []
    with environments.workplace(options.folder, options.wheel) as (folder, wheel):
        print(
            "| project | version | tests | differ | no reading | bare (s) | measured (s) | ratio |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for project in PROJECTS:
            if options.projects and project.name not in options.projects:
                continue
            place = folder / project.name
            place.mkdir(exist_ok=True)
            text, well = compare(place, project, wheel, options.rounds)
            print(text, flush=True)
            if not well:
                bad.append(project.name)
    print(f"to be looked at: {', '.join(bad) or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
