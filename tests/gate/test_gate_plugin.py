"""The gate in whole pytest runs.

Readings and baselines are scripted, so that no timing decides: a test that is busy has a contention
of 1, and breaks a gate if its baseline has 0.
"""

import fcntl
import json
import os
import resource
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.gate_samples import BUSY, FREE, FULL, GATE, read, script_readings, write

from pytest_gilknock import _core
from pytest_gilknock.baseline import environment as origin
from pytest_gilknock.baseline.codec import dumps
from pytest_gilknock.baseline.model import BaselineError
from pytest_gilknock.gate import io as gate_files
from pytest_gilknock.gate.settings import GateSettings

pytestmark = pytest.mark.skipif(
    _core.status()[0] != "exact", reason="the scripted baselines are of exact readings"
)


@pytest.fixture(autouse=True)
def _readings_are_scripted(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    script_readings(pytester, monkeypatch)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(
        test_a=BUSY
        + """
def test_one():
    busy()

def test_two():
    busy()

def test_fails():
    busy()
    assert "own" == "failure"
"""
    )
    return pytester


def run(project: pytest.Pytester, *arguments: str, tests: str = "one or two") -> pytest.RunResult:
    return project.runpytest("-k", tests, *arguments)


# --- saving ----------------------------------------------------------------------------------


def test_runs_are_saved_under_numbers_and_a_name(project: pytest.Pytester) -> None:
    kind = origin.machine_kind()
    for number in (1, 2):
        result = run(project, "--gil-save=main")
        path = f".gilknock/{kind}/000{number}_main.json"
        result.stdout.fnmatch_lines([f"GIL baseline of 2 tests saved to {path}"])
        assert set(read(project.path / path).tests) == {
            "test_a.py::test_one",
            "test_a.py::test_two",
        }


def test_an_autosaved_run_is_named_by_commit_and_time(project: pytest.Pytester) -> None:
    run(project, "--gil-autosave", "--gil-storage=elsewhere")
    (path,) = project.path.joinpath("elsewhere", origin.machine_kind()).iterdir()
    commit, _, time = path.stem.removeprefix("0001_").partition("_")
    assert commit.isalnum()
    assert len(time) == len("20250131T120000")


def test_the_storage_of_the_ini_file_is_below_the_root(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\ngil_storage = of_ini")
    project.mkdir("sub")
    os.chdir(project.path / "sub")
    project.runpytest("..", "-k", "one", "--gil-save=main")
    assert list(project.path.glob("of_ini/*/0001_main.json"))


def test_a_partial_run_keeps_the_other_entries_of_a_file_and_says_so(
    project: pytest.Pytester,
) -> None:
    path = project.path / "base.json"
    run(project, "--gil-save=base.json")
    before = read(path)
    result = run(project, "--gil-save=base.json", tests="two")
    result.stdout.fnmatch_lines(
        ["GIL baseline of 1 test saved to base.json; 1 test did not run or pass, and kept what*"]
    )
    after = read(path)
    assert after.tests["test_a.py::test_one"] == before.tests["test_a.py::test_one"]
    assert set(after.tests) == set(before.tests)


def test_a_failed_test_is_not_saved(project: pytest.Pytester) -> None:
    run(project, "--gil-save=base.json", tests="one or fails")
    assert set(read(project.path / "base.json").tests) == {"test_a.py::test_one"}
    result = run(project, "--gil-save=none.json", tests="fails")
    result.stdout.fnmatch_lines(["GIL baseline not saved: no measured test passed"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not project.path.joinpath("none.json").exists()


def test_a_test_over_its_gate_does_not_raise_its_own_baseline(project: pytest.Pytester) -> None:
    path = project.path / "base.json"
    write(path, test_one=FREE, test_two=FULL)
    result = run(project, "--gil-compare=base.json", GATE, "--gil-save=base.json")
    result.assert_outcomes(passed=1, failed=1)
    assert read(path).tests["test_a.py::test_one"] == FREE
    assert read(path).tests["test_a.py::test_two"] != FULL


def test_a_tests_change_of_directory_does_not_move_the_baseline(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_a="import os\n\ndef test_one(tmp_path, monkeypatch):\n    os.chdir(tmp_path)\n"
    )
    home = project.path
    run(project, "--gil-save=base.json")
    assert read(home / "base.json").tests


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--gil-save=../main"], "--gil-save: '../main' is not a name of up to 80 letters"),
        (["--gil-save=/tmp/main"], "--gil-save: '/tmp/main' is not a name"),
        (["--gil-save="], "--gil-save: '' is not a name"),
        (["--gil-save=a\x1b[2J"], "--gil-save: 'a\\x1b[2J' is not a name"),
        (["--gil-save=17"], "--gil-save: '17' is not a name"),
        (["--gil-save=missing/b.json"], "--gil-save: * is not a directory"),
        (["--gil-save=folder.json"], "--gil-save: * is a directory"),
        (["--gil-save=file/b.json"], "--gil-save: * is not a directory"),
        (["--gil-save=damaged.json"], "--gil-save: damaged.json: not JSON, or cut off*"),
        (["--gil-save=future.json"], "--gil-save: future.json: has schema 2, this pytest-*"),
        (["--gil-save=foreign.json"], "--gil-save: foreign.json: not a baseline*"),
        (["--gil-save=other.json"], "--gil-save: other.json: *other conditions*CPUs was 99*"),
        (["--gil-save=main", "--gil-storage=file"], "--gil-save: *file is not a folder"),
        (["--gil-save=main", "--gil-storage="], "--gil-storage: '' is not the path of a folder"),
        (["--gil-save=main", "--gil-autosave"], "--gil-autosave names the run itself"),
        (["--gil-compare="], "--gil-compare: '' is no name"),
        (["--gil-compare=b", "--gil-compare-fail=wait:20"], "--gil-compare-fail: 'wait:20': '20'"),
        (["--gil-compare=b", "--gil-compare-fail="], "--gil-compare-fail: '' has no METRIC"),
        (["--gil-compare=b", "--gil-compare-retries=-1"], "--gil-compare-retries: '-1' is not a"),
        (["--gil-compare=b", "--gil-compare-retries=99999999999"], "'99999999999' is not a num"),
        (["--gil-compare-fail=wait:1s"], "--gil-compare-fail has no effect without --gil-compare"),
        (["--gil-compare-strict"], "--gil-compare-strict has no effect without --gil-compare"),
        (["--gil-compare-retries=1"], "--gil-compare-retries has no effect without"),
        (["--gil-json=x", "--gil-json-format=csv"], "--gil-json-format: 'csv' is not one of"),
        (["--gil-json-format=readings"], "--gil-json-format has no effect without --gil-json"),
    ],
)
def test_what_cannot_be_used_is_told_before_a_test_runs(
    project: pytest.Pytester, arguments: list[str], reason: str
) -> None:
    text = dumps(origin.baseline({"test_a.py::test_one": FREE}))
    files = {
        "file": "kept",
        "damaged.json": text[:200],
        "future.json": text.replace('"schema": 1', '"schema": 2'),
        "foreign.json": '{"benchmarks": []}',
        "other.json": text.replace('"cpus": ', '"cpus": 99'),
    }
    for name, content in files.items():
        project.path.joinpath(name).write_text(content)
    project.mkdir("folder.json")
    result = run(project, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{reason.replace('[', '[[]')}*"])
    result.stdout.no_fnmatch_line("*passed*")
    for name, content in files.items():
        assert project.path.joinpath(name).read_text() == content, f"{name} is as it was"


def test_a_gate_of_the_ini_file_is_checked_and_waits_for_a_comparison(
    project: pytest.Pytester,
) -> None:
    project.makeini("[pytest]\ngil_compare_fail =\n    contention:0.5\n    wait:bad")
    assert run(project).ret == pytest.ExitCode.OK
    result = run(project, "--gil-compare=main")
    result.stderr.fnmatch_lines(["ERROR: *ini key gil_compare_fail: 'wait:bad': 'bad' is neither*"])


@pytest.mark.parametrize("name", ["base.json", "main"])
def test_a_baseline_too_large_to_be_read_back_is_not_saved(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("pytest_gilknock.baseline.codec.MAX_BYTES", 100)
    result = run(project, f"--gil-save={name}", "-kone")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    place = name if name.endswith(".json") else "*"
    result.stdout.fnmatch_lines([f"GIL baseline not saved: {place}: with 1 tests larger than *"])


def test_a_full_disk_leaves_the_old_baseline_and_fails_the_run(project: pytest.Pytester) -> None:
    path = project.path / "base.json"
    write(path, test_one=FULL)
    old = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-pno:cacheprovider", "--gil-save=base.json", "-kone"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # not to a file, which has no room for it
        text=True,
        timeout=60,
        check=False,
    )
    assert "GIL baseline not saved: base.json: File too large" in done.stdout
    assert done.returncode == pytest.ExitCode.INTERNAL_ERROR
    assert path.read_bytes() == old
    assert not list(project.path.glob("*.tmp"))


def test_a_run_that_is_broken_off_is_merged_into_a_file_and_is_no_numbered_run(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_a="import pytest\ndef test_one(): pass\ndef test_two(): pytest.exit('enough')\n"
    )
    write(project.path / "base.json", test_one=FULL, test_two=FULL)
    result = project.runpytest("--gil-save=base.json")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    tests = read(project.path / "base.json").tests
    assert tests["test_a.py::test_one"] != FULL
    assert tests["test_a.py::test_two"] == FULL
    result = project.runpytest("--gil-save=main")
    result.stdout.fnmatch_lines(["GIL baseline not saved: the run was broken off*"])
    assert not project.path.joinpath(".gilknock").exists()


def test_collecting_compares_and_saves_nothing(project: pytest.Pytester) -> None:
    result = run(project, "--collect-only", "--gil-save=base.json", "--gil-compare=main")
    result.stdout.no_fnmatch_line("*GIL*")
    assert not project.path.joinpath("base.json").exists()


def test_runs_that_save_to_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    settings = GateSettings("", str(path), None, (), False, 0)

    def save(number: int) -> str:
        return gate_files.save(settings, origin.baseline({f"test_{number}": FULL}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(24)))
    assert len(read(path).tests) == 24


def test_a_file_of_another_machine_that_comes_while_the_tests_run_is_left_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "base.json"
    write(path, test_one=FULL)
    path.write_text(path.read_text().replace('"cpus": ', '"cpus": 99'))
    old = path.read_bytes()
    settings = GateSettings("", str(path), None, (), False, 0)
    with pytest.raises(BaselineError, match=r"base\.json: its entries .* other conditions"):
        gate_files.save(settings, origin.baseline({"test_two": FULL}))
    assert path.read_bytes() == old


def test_a_lock_that_another_process_keeps_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_files, "LOCK_SECONDS", 0.1)
    path = tmp_path / "base.json"
    write(path, test_one=FULL)
    old = path.read_bytes()
    settings = GateSettings("", str(path), None, (), False, 0)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(BaselineError, match=r"base\.json: another process has had .* locked"):
        gate_files.save(settings, origin.baseline({"test_two": FULL}))
    assert path.read_bytes() == old
    os.close(holder)
    gate_files.save(settings, origin.baseline({"test_two": FULL}))
    assert "test_two" in read(path).tests


def test_a_numbered_run_says_which_tests_of_the_run_before_it_lacks(
    project: pytest.Pytester,
) -> None:
    run(project, "--gil-save=main")
    run(project, "--gil-save=other", tests="one")
    lacking = run(project, "--gil-save=main", tests="two")
    lacking.stdout.fnmatch_lines(["*1 test saved to *0003_main.json, without 1 test of 0001_m*"])
    more = run(project, "--gil-save=main")
    more.stdout.fnmatch_lines(["GIL baseline of 2 tests saved to *0004_main.json"])
    automatic = run(project, "--gil-autosave", tests="one")
    automatic.stdout.fnmatch_lines(["*0005_nocommit_*.json, without 1 test of 0004_main.json"])


def test_a_damaged_run_before_it_is_no_hindrance(project: pytest.Pytester) -> None:
    run(project, "--gil-save=main")
    (first,) = project.path.glob(".gilknock/*/0001_main.json")
    first.write_text("damaged")
    result = run(project, "--gil-save=main", tests="one")
    result.stdout.fnmatch_lines(["GIL baseline of 1 test saved to *0002_main.json"])
    assert first.read_text() == "damaged"


def test_a_file_damaged_while_the_tests_ran_is_not_overwritten(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_a="def test_one(pytestconfig):\n"
        "    pytestconfig.rootpath.joinpath('base.json').write_text('precious')\n"
    )
    result = run(project, "--gil-save=base.json")
    result.stdout.fnmatch_lines(["GIL baseline not saved: *base.json: not JSON, or cut off*"])
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert project.path.joinpath("base.json").read_text() == "precious"


# --- comparing -------------------------------------------------------------------------------


def test_a_comparison_without_a_gate_fails_nothing(project: pytest.Pytester) -> None:
    write(project.path / "base.json", test_one=FREE, test_gone=FREE)
    result = run(project, "--gil-compare=base.json")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "gilknock: compared with base.json",
            "*= GIL contention compared =*",
            "+  contention  * test_a.py::test_one",
            "1 test of this run compared with base.json: 1 worse",
            "New, without a baseline: 1 test (test_a.py::test_two)",
            "In the baseline, not measured now: 1 test (test_a.py::test_gone)",
        ]
    )


def test_a_test_over_its_gate_fails_and_says_why(project: pytest.Pytester) -> None:
    write(project.path / "base.json", test_one=FREE, test_two=FULL)
    result = run(project, "--gil-compare=base.json", GATE)
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "gilknock: compared with base.json; gate contention:0.5",
            "*_ test_one _*",
            "GIL contention regression: contention 1.000, was 0.000 (+1.000, from 0),"
            " allowed +0.500, set by --gil-compare-fail=contention:0.5",
            "  before      0.000 in base.json",
            "  contention  1.000 (the GIL was held *",
            "*= GIL contention compared =*",
            "!  contention * test_a.py::test_one",
            "Gate: contention:0.5",
            "FAILED test_a.py::test_one - *GIL contention regression: *",
        ]
    )


def test_saved_runs_of_a_name_make_a_spread(project: pytest.Pytester) -> None:
    folder = project.path / ".gilknock" / origin.machine_kind()
    folder.mkdir(parents=True)
    write(folder / "0001_main.json", test_one=FREE)
    write(folder / "0002_main.json", test_one=FULL)
    write(folder / "0003_main.json", test_one=FREE)
    assert run(project, "--gil-compare=main", GATE).ret == pytest.ExitCode.OK
    for reference in ("latest", "3", "1"):
        assert run(project, f"--gil-compare={reference}", GATE).ret == pytest.ExitCode.TESTS_FAILED
    folder.joinpath("0002_main.json").write_text("damaged")
    result = run(project, "--gil-compare=main", GATE)
    result.stdout.fnmatch_lines(["Warning: not compared with *0002_main.json: not JSON, or cut*"])
    result.stdout.fnmatch_lines(["  before      0.000, the worst of 2 runs from 0.000 on (0001_*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "nothing to compare with: no saved run 'main' in *: nothing is saved there yet"),
        ("", "not compared with base.json: the file is empty"),
        ('{"kind": "x"}', "not compared with base.json: not a baseline*"),
        (("schema", 2), "not compared with base.json: has schema 2*"),
        (("cpus", 99), "compared with base.json, but its CPUs was 99, is *"),
        (("kind", "Linux-CPython-3.9-64bit"), "compared with base.json, but its machine kind was*"),
    ],
)
def test_a_baseline_that_is_missing_unreadable_or_unlike_is_a_warning_and_strictly_an_error(
    project: pytest.Pytester, content: str | tuple[str, object] | None, reason: str
) -> None:
    if isinstance(content, tuple):
        document = json.loads(dumps(origin.baseline({"test_a.py::test_one": FULL})))
        place = document if content[0] == "schema" else document["machine"]
        place[content[0]] = content[1]
        content = json.dumps(document)
    if content is not None:
        project.path.joinpath("base.json").write_text(content)
    reference = "main" if content is None else "base.json"
    result = run(project, f"--gil-compare={reference}", GATE)
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"gilknock: warning: {reason}", f"Warning: {reason}"])

    result = run(project, f"--gil-compare={reference}", GATE, "--gil-compare-strict")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --gil-compare-strict: {reason}"])


@pytest.mark.parametrize("distributed", [[], ["-n2"]])
def test_another_method_is_not_judged_and_strictly_an_error(
    project: pytest.Pytester, distributed: list[str]
) -> None:
    if distributed:
        pytest.importorskip("xdist")
    write(project.path / "base.json", test_one=FREE)
    sampled = ["--gil-compare=base.json", GATE, "--gil-method=sampled", *distributed]
    result = run(project, *sampled)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["Warning: contention of 1 test not judged by the gate: exact before, sampled now"]
    )
    result = run(project, *sampled, "--gil-compare-strict")
    words = "--gil-compare-strict: measured by the method sampled here, compared with exact in"
    assert words in result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_method_that_is_the_same_is_strictly_right(project: pytest.Pytester) -> None:
    write(project.path / "base.json", test_one=FULL)
    result = run(project, "--gil-compare=base.json", GATE, "--gil-compare-strict")
    assert result.ret == pytest.ExitCode.OK


def test_another_switch_interval_is_told(project: pytest.Pytester) -> None:
    run(project, "--gil-save=base.json", "--gil-switch-interval=1ms")
    same = run(project, "--gil-compare=base.json", "--gil-switch-interval=1ms")
    same.stdout.no_fnmatch_line("*Warning*")
    other = run(project, "--gil-compare=base.json")
    other.stdout.fnmatch_lines(["Warning: *but its switch interval was 0.001 s, is 0.005 s"])


# --- outcomes --------------------------------------------------------------------------------

OUTCOMES = (
    BUSY
    + """
import unittest
import pytest

def test_breach(): busy()
def test_own_failure():
    busy()
    assert "own" == "failure"
@pytest.mark.xfail
def test_xfail(): busy()
def test_skip():
    busy()
    pytest.skip("no")
class TestUnit(unittest.TestCase):
    def test_breach(self): busy()
    def test_own_failure(self):
        busy()
        self.assertEqual("own", "failure")
@pytest.mark.asyncio
async def test_async(): busy()
def test_subtests(subtests):
    with subtests.test("one"): busy()
@pytest.mark.max_gil_contention(0)
def test_limit_first(): busy()
def test_marked_elsewhere(): busy()
"""
)

EXPECTED = {
    "test_breach": "regression",
    "test_own_failure": "own",
    "test_xfail": "skipped",
    "test_skip": "skipped",
    "TestUnit::test_breach": "regression",
    "TestUnit::test_own_failure": "own",
    "test_async": "regression",
    "test_subtests": "regression",
    "test_limit_first": "GIL limit exceeded",
}


@pytest.mark.parametrize(
    ("arguments", "family"),
    [([], "xunit1"), ([], "xunit2"), (["-n2", "--dist=loadgroup"], "xunit2")],
)
def test_each_kind_of_test_fails_as_itself_in_junit_too(
    project: pytest.Pytester, arguments: list[str], family: str
) -> None:
    for module in ("pytest_asyncio", "xdist"):
        pytest.importorskip(module)
    project.makepyfile(test_a=OUTCOMES)
    write(project.path / "base.json", **dict.fromkeys(EXPECTED, FREE))
    project.runpytest(
        "--gil-compare=base.json",
        GATE,
        *arguments,
        "--junitxml=j.xml",
        "-o",
        f"junit_family={family}",
    )
    cases: dict[str, list[ElementTree.Element]] = {}
    for case in ElementTree.parse(project.path / "j.xml").iter("testcase"):
        inside = case.get("classname", "").removeprefix("test_a").lstrip(".")
        cases.setdefault("::".join(filter(None, [inside, case.get("name")])), []).append(case)
    for name, expected in EXPECTED.items():
        case = cases[name][-1]
        text = "".join(
            [child.tag + (child.get("message") or "") + (child.text or "") for child in case]
        )
        assert expected in text, name
        if expected == "regression":
            properties = {one.get("name"): one.get("value") for one in case.iter("property")}
            assert properties["gil_baseline_contention"] == "0.0"
            assert float(properties["gil_change_contention"] or 0) > 0.5
            assert {"gil_baseline_wait_s", "gil_change_max_wait_s"} <= set(properties)


def test_no_junit_properties_when_none_are_wanted(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\ngil_junit = none")
    write(project.path / "base.json", test_one=FULL)
    run(project, "--gil-compare=base.json", "--junitxml=j.xml")
    assert "gil_" not in project.path.joinpath("j.xml").read_text()


IDS = BUSY + (
    "import pytest\n"
    "CHARS = [chr(code) for code in (*range(256), 0x2028, 0x202e, 0xd800, 0x1f40d)]\n"
    "@pytest.mark.parametrize('char', CHARS, ids=lambda char: f'[{char}]')\n"
    "def test_char(char): pass\n"
    "@pytest.mark.parametrize('text', ['a::b', 'x' * 5000, '', '../..', 'C:\\\\x', '@group'])\n"
    "def test_text(text): pass\n"
)


@pytest.mark.parametrize("arguments", [[], ["-n2"]])
def test_ids_of_every_character_are_saved_and_found_again(
    project: pytest.Pytester, arguments: list[str]
) -> None:
    if arguments:
        pytest.importorskip("xdist")
    project.makepyfile(test_ids=IDS)
    project.runpytest("test_ids.py", "--gil-save=base.json", *arguments)
    result = project.runpytest("test_ids.py", "--gil-compare=base.json", *arguments)
    tests = len(read(project.path / "base.json").tests)
    assert tests == 260 + 6
    result.stdout.fnmatch_lines([f"{tests} tests of this run compared with base.json: *"])
    result.stdout.no_fnmatch_line("New, without*")
    result.stdout.no_fnmatch_line("In the baseline, not*")


def test_a_group_of_xdist_is_no_part_of_a_tests_id(project: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    project.makepyfile(
        test_a="import pytest\n"
        "@pytest.mark.xdist_group('g')\n"
        "@pytest.mark.parametrize('x', ['a@b'])\n"
        "def test_one(x): pass\n"
    )
    project.runpytest("-n2", "--dist=loadgroup", "--gil-save=base.json")
    assert set(read(project.path / "base.json").tests) == {"test_a.py::test_one[a@b]"}


def test_a_rerun_by_another_plugin_is_judged_again(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    project.makepyfile(
        test_a=BUSY
        + "RUNS = []\ndef test_one():\n    RUNS.append(0)\n"
        + "    busy(len(RUNS) == 1)\n"
    )
    write(project.path / "base.json", test_one=FREE)
    for retries in ([], ["--gil-compare-retries=3"]):
        result = project.runpytest("--gil-compare=base.json", GATE, "--reruns=1", *retries)
        assert result.parseoutcomes() == {"rerun": 1, "passed": 1}
        result.stdout.fnmatch_lines(["1 test of this run compared with base.json: 1 steady"])


def test_a_rerun_that_fails_by_itself_leaves_nothing_to_compare(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    project.makepyfile(
        test_a=BUSY
        + "RUNS = []\ndef test_one():\n    RUNS.append(0)\n"
        + "    busy()\n    assert len(RUNS) == 1\n"
    )
    write(project.path / "base.json", test_one=FREE)
    result = project.runpytest("--gil-compare=base.json", GATE, "--reruns=1")
    assert result.parseoutcomes() == {"rerun": 1, "failed": 1}
    result.stdout.fnmatch_lines(["0 tests of this run compared with base.json: nothing *"])


def test_an_unused_gate_imports_nothing(project: pytest.Pytester) -> None:
    project.path.joinpath("conftest.py").unlink()
    script = (
        "import pytest, sys\n"
        "pytest.main(['-q', '-k', 'one', '--gil-report'])\n"
        "print([name for name in sys.modules if name.startswith('pytest_gilknock.')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for module in ("compare", "gatekeeper", "storage", "baseline", "github", "gate_plugin"):
        assert f"'pytest_gilknock.{module}'" not in done.stdout


# --- the other readers -----------------------------------------------------------------------


def test_github_action_benchmark_gets_its_form(project: pytest.Pytester) -> None:
    run(project, "--gil-json=out.json", "--gil-json-format=customSmallerIsBetter")
    benches = json.loads(project.path.joinpath("out.json").read_text())
    assert {bench["name"] for bench in benches} == {
        f"test_a.py::{test} {metric}"
        for test in ("test_one", "test_two")
        for metric in ("contention", "wait", "max_wait", "contended")
    }
    assert all(isinstance(bench["value"], int | float) and bench["unit"] for bench in benches)


@pytest.mark.parametrize("arguments", [[], ["-n2"]])
def test_github_gets_annotations_and_a_summary(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    if arguments:
        pytest.importorskip("xdist")
    write(project.path / "base.json", test_one=FREE, test_two=FREE)
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    compare = ["--gil-compare=base.json", GATE, *arguments]
    run(project, *compare).stdout.no_fnmatch_line("*::error*")
    assert not summary.exists()

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path.parent))
    result = run(project, *compare)
    folder = project.path.name
    result.stdout.fnmatch_lines(
        [
            f"::error file={folder}/test_a.py,line=6,title=test_one%3A GIL contention regression%3A"
            " contention 1.000*::GIL contention regression: contention 1.000*%0A  before*",
            f"::error file={folder}/test_a.py,line=9,title=test_two%3A *",
        ]
    )
    assert result.stdout.str().count("::error") == 2
    text = summary.read_text()
    assert text.startswith("### GIL contention compared with `base.json`\n")
    assert text.count("| **!** | contention |") == 2
    run(project, *compare)
    assert summary.read_text().count("### GIL") == 2


def test_a_limit_of_a_marker_is_annotated_too(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.makepyfile(
        test_a="import pytest\n\n@pytest.mark.max_gil_contention(0)\ndef test_one(): pass\n"
        "def test_own(): assert 0\n"
    )
    result = project.runpytest()
    result.stdout.fnmatch_lines(["::error file=*test_a.py,line=3,title=test_one%3A GIL limit ex*"])
    assert result.stdout.str().count("::error") == 1


def test_no_annotations_where_another_plugin_makes_them(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.makepyfile(pytest_github_actions_annotate_failures="")
    project.syspathinsert()
    write(project.path / "base.json", test_one=FREE)
    other = ["-p", "pytest_github_actions_annotate_failures"]
    result = run(project, "--gil-compare=base.json", GATE, *other)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*::error*")


def test_a_summary_that_cannot_be_written_only_warns(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    write(project.path / "base.json", test_one=FULL)
    result = run(project, "--gil-compare=base.json")
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY: *Is a directory*"])
    assert result.ret == pytest.ExitCode.OK
