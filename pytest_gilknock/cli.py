"""``python -m pytest_gilknock``: baselines shown and compared without running a test. No pytest."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TypeVar

from pytest_gilknock.atomic_file import check_replaceable, replace
from pytest_gilknock.baseline import checks, codec, environment, storage
from pytest_gilknock.baseline.model import Baseline, BaselineError, differences
from pytest_gilknock.baseline.table import as_markdown as baseline_markdown
from pytest_gilknock.baseline.table import as_text as baseline_text
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.comparison_json import as_json
from pytest_gilknock.gate.expression import FORM, parse_gates
from pytest_gilknock.gate.runs import Comparison, compare_runs
from pytest_gilknock.gate.suggest import as_json as suggestion_json
from pytest_gilknock.gate.suggest import as_text as suggestion_text
from pytest_gilknock.gate.suggest import suggest
from pytest_gilknock.gate.table import as_markdown, needed_table, section
from pytest_gilknock.render.format import shown_path
from pytest_gilknock.reporting import page, saved_readings
from pytest_gilknock.reporting.page_of_baseline import page_of_baseline
from pytest_gilknock.reporting.page_of_results import page_of

T = TypeVar("T")

OK, BREACHED, UNUSABLE = 0, 1, 2

DEFAULT_STORAGE = ".gilknock"
"""As in :mod:`.options`, which imports pytest: these commands do not need it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a breached gate, 2 for unusable input."""
    options = _parser().parse_args(arguments)
    try:
        output, code = options.run(options)
    except (BaselineError, ValueError) as error:
        print(f"pytest_gilknock: {error}", file=sys.stderr)
        return UNUSABLE
    return _print(output, code)


def _print(output: str, code: int) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(output)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough; keep the flush at exit from failing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_gilknock",
        description="Show and compare what pytest --gil-save and --gil-json have written.",
        epilog="Exit code: 0, 1 when a gate is breached, 2 when the input cannot be used.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    compare = commands.add_parser("compare", help="compare the saved runs A and B")
    compare.add_argument("a", metavar="A", help="before: a file, or a saved run's name or number")
    compare.add_argument("b", metavar="B", help="after: likewise; of a name, its latest run")
    compare.add_argument(
        "--fail",
        metavar="METRIC:EXPR",
        action="append",
        default=[],
        help=f"exit with 1 if any test is worse by more than this; {FORM}".replace("%", "%%"),
    )
    compare.set_defaults(run=_compare)

    show = commands.add_parser("show", help="show the numbers of a saved run")
    show.add_argument("file", metavar="FILE", help="a file, or a saved run's name or number")
    show.set_defaults(run=_show)

    advise = commands.add_parser(
        "suggest", help="suggest gates that saved runs of unchanged code keep"
    )
    advise.add_argument("reference", metavar="REF", help="the name of three saved runs or more")
    advise.set_defaults(run=_suggest)

    report = commands.add_parser("report", help="make a page to look at from a run")
    report.add_argument(
        "file",
        metavar="FILE",
        help="a file of --gil-json or --gil-save, or a saved run's name or number",
    )
    report.add_argument(
        "--html", metavar="OUT", required=True, help="the file to write, replaced if it is there"
    )
    report.set_defaults(run=_report)

    for command in (compare, show, advise):
        form = command.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print JSON")
        if command is not advise:
            form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    for command in (compare, show, advise, report):
        command.add_argument(
            "--storage",
            metavar="DIR",
            default=DEFAULT_STORAGE,
            help="where runs are saved (default: %(default)s in the current folder; the ini file's "
            "gil_storage is not read)",
        )
    return parser


def _find(reference: str, options: argparse.Namespace) -> list[str]:
    """Return the paths of the saved runs that a reference means, the latest one last."""
    return storage.Storage(options.storage, environment.machine_kind()).find(reference)


def _load(reference: str, options: argparse.Namespace) -> list[tuple[str, Baseline]]:
    return [(path, codec.load(path)) for path in _find(reference, options)]


def _load_latest(reference: str, options: argparse.Namespace) -> tuple[str, Baseline]:
    path = _find(reference, options)[-1]
    return path, codec.load(path)


def _compare(options: argparse.Namespace) -> tuple[str, int]:
    try:
        gates = parse_gates(options.fail)
    except ValueError as error:
        raise ValueError(f"--fail: {error}") from None
    before = _load(options.a, options)
    path, after = _load_latest(options.b, options)
    comparison = compare_runs(
        BaselineRuns.of(before),
        after.tests,
        gates,
        name=path,
        caveats=[
            f"{shown_path(name)} and {shown_path(path)}: {difference}"
            for name, baseline in before
            for difference in differences(baseline, after)
        ],
    )
    return _form(options, comparison), BREACHED if comparison.failed else OK


def _form(options: argparse.Namespace, comparison: Comparison) -> str:
    if options.json:
        return as_json(comparison)
    if options.markdown:
        return as_markdown(comparison)
    width = shutil.get_terminal_size().columns
    lines = section(comparison, width=width, top=0, everything=False)
    lines += needed_table(comparison)
    return "".join(f"{line.text}\n" for line in lines)


def _show(options: argparse.Namespace) -> tuple[str, int]:
    path, baseline = _load_latest(options.file, options)
    if options.json:
        return codec.dumps(baseline), OK
    form: Callable[[str, Baseline], str] = baseline_markdown if options.markdown else baseline_text
    return form(path, baseline), OK


def _suggest(options: argparse.Namespace) -> tuple[str, int]:
    runs = BaselineRuns.of(_load(options.reference, options))
    try:
        suggestions = suggest(runs.entries)
    except ValueError as error:
        raise ValueError(f"{options.reference}: {error}") from None
    form = suggestion_json if options.json else suggestion_text
    return form(suggestions, runs.names), OK


def _report(options: argparse.Namespace) -> tuple[str, int]:
    if find_spec("jinja2") is None:
        raise ValueError(f"--html {page.NEEDED}")
    out = os.path.abspath(options.html)
    try:
        check_replaceable(out)
    except OSError as error:
        raise ValueError(f"--html: {error}; give the path of a file to write") from None
    source = _source(options)
    if os.path.exists(out) and os.path.samefile(source, out):
        raise ValueError(f"--html: {shown_path(out)} is the file to read; give another path")
    if codec.is_saved_run(out):
        raise ValueError(f"--html: {shown_path(out)} is a saved run; give another path")
    if storage.names_run(out, options.storage):
        raise ValueError(
            f"--html: {shown_path(out)} would be taken for a saved run, as those in"
            f" {shown_path(options.storage)} are called {storage.RUN_FILE_FORM}; give another path"
        )
    written = page.page_text(_page_of(source))
    try:
        replace(out, written, compressed=out.endswith(".gz"))
    except OSError as error:
        raise ValueError(f"--html: {shown_path(out)}: {error.strerror}") from None
    return f"Page written to {shown_path(out)}\n", OK


def _source(options: argparse.Namespace) -> str:
    """Return the path of the file that a page is made of."""
    if os.path.isfile(options.file):
        return str(options.file)
    path = _find(options.file, options)[-1]
    if not os.path.exists(path):
        raise ValueError(f"{shown_path(path)}: No such file")
    return path


def _page_of(path: str) -> page.Page:
    place = shown_path(path)
    try:
        document = checks.parse(
            checks.read(path, saved_readings.MAX_BYTES),
            saved_readings.MAX_BYTES,
            saved_readings.TOO_LARGE,
        )
    except checks.Fault as fault:
        raise BaselineError(f"{place}: {fault}") from None
    if checks.is_readings(document):
        results = saved_readings.results_of(document, place)
        return page_of(results, results.caveats)
    if isinstance(document, dict) and document.get("kind") == codec.KIND:
        return page_of_baseline(codec.from_document(document, place))
    raise BaselineError(f"{place}: made neither by --gil-json nor by --gil-save")
