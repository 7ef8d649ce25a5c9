"""Suites run twice, without the plugin and measured, in environments made for the purpose.

``neighbours.py`` and ``projects.py`` say which. Environments are made by uv where it is on the
path, and otherwise by venv and pip. What a test came to is written down by ``suites/recorder.py``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITES = Path(__file__).with_name("suites")

BARE = ("-p", "no:gilknock")
MEASURED = ("--gil-report", "-vv", "--gil-json=readings.json")


@dataclass(frozen=True)
class Run:
    """What one run of pytest came to."""

    code: int | str
    outcomes: frozenset[str]  # one for each report of a test, warning, and the exit status
    called: frozenset[str]  # tests whose call was reported
    readings: frozenset[str]  # tests that have a reading
    methods: frozenset[str]
    seconds: float
    text: str


def build_wheel(folder: Path) -> Path:
    """Build the wheel of a copy of this tree: what lies built in the tree stays out of it."""
    tree = folder / "tree"
    without = shutil.ignore_patterns("*.so", "__pycache__", "build", "*.egg-info", ".*", "_build")
    shutil.copytree(ROOT, tree, ignore=without, dirs_exist_ok=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, tree]
    subprocess.run(command, check=True)
    return max(folder.glob("pytest_gilknock-*.whl"), key=os.path.getmtime)


@contextmanager
def workplace(folder: Path | None, wheel: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield where to put what is made, and the wheel to install.

    Without a folder it is a temporary one; without a wheel, one of this tree is built there.
    """
    with tempfile.TemporaryDirectory(prefix="gilknock-") as temporary:
        place = (folder or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        yield place, (wheel or build_wheel(place)).resolve()


def make_environment(folder: Path, *requirements: str) -> Path:
    """Make an environment with these requirements, if it is not there; return its interpreter."""
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if ready.exists() and ready.read_text().split("\n") == [*requirements]:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "-q", "-p", sys.executable, "--seed", folder], check=True)
        command = [uv, "pip", "install", "-q", "--python", str(python)]
    else:
        venv.create(folder, with_pip=True)
        command = [str(python), "-m", "pip", "install", "-q"]
    subprocess.run([*command, *requirements], check=True)
    ready.write_text("\n".join(requirements))
    return python


def version_in(python: Path, distribution: str) -> str:
    """The installed version of a distribution."""
    program = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    command = [python, "-c", program, re.split(r"[\[<>=~!;]", distribution)[0]]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def run_limited(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float,
    ended_by: signal.Signals = signal.SIGKILL,
) -> tuple[int | str, str]:
    """Run a command in ``folder``; return its exit status, and what it printed to ``output.txt``.

    After ``timeout`` seconds its process group gets the signal ``ended_by``, and what is left of it
    ten seconds later is killed; the status says so then.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in a shell's background job. Suites would inherit it that interrupt themselves.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(folder / "output.txt", "w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | str = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = f"no end after {timeout:g} s"
            os.killpg(process.pid, ended_by)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return code, output.read()


def run(
    command: Sequence[str | Path],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> Run:
    """Run pytest, by a command that loads the recorder, in ``folder``."""
    recorded, readings = folder / "recorded.json", folder / "readings.json"
    for file in (recorded, readings):
        file.unlink(missing_ok=True)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "PYTHON", "COV_", "VIRTUAL_ENV", "GITHUB_", "CI"))
    }
    start = time.monotonic()
    code, text = run_limited(
        list(map(str, command)),
        folder,
        {
            **inherited,
            "PYTHONPATH": str(SUITES),
            "GILKNOCK_RECORDED": str(recorded),
            **(environment or {}),
        },
        timeout,
    )
    seconds = time.monotonic() - start
    told = json.loads(recorded.read_text("utf-8")) if recorded.exists() else {}
    written = json.loads(readings.read_text("utf-8"))["tests"] if readings.exists() else []
    have = [test for test in written if test["reading"] is not None]
    return Run(
        code,
        frozenset([*told.get("outcomes", ()), f"exit {code}"]),
        frozenset(told.get("called", ())),
        frozenset(test["nodeid"] for test in have),
        frozenset(test["reading"]["method"] for test in have),
        seconds,
        text,
    )


def differing(pairs: Sequence[tuple[Run, Run]]) -> tuple[list[str], list[str]]:
    """Of (bare, measured) runs: the outcomes that measuring changed, and those that vary anyway."""
    bare, measured = ([one.outcomes for one in side] for side in zip(*pairs, strict=True))
    ever_bare = frozenset().union(*bare)
    ever_measured = frozenset().union(*measured)
    differ = (ever_measured - ever_bare) | (frozenset.intersection(*bare) - ever_measured)
    vary = (ever_bare | ever_measured) - frozenset.intersection(*bare, *measured) - differ
    return sorted(differ), sorted(vary)
