"""Each kind of test under a gate: how it fails, under which id, and in JUnit."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest
from support.gate_samples import BUSY, FREE, FULL, GATE, SCRIPTED, read, run, write

pytestmark = SCRIPTED


OUTCOMES = (
    BUSY
    + """
import unittest
import pytest

def test_breach(): busy()
def test_own_failure():
    busy()
    assert "own" == "failure"
@pytest.mark.xfail(strict=True)
def test_xfail_strict(): busy()
@pytest.mark.xfail(False, reason="does not apply")
def test_xfail_elsewhere(): busy()
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
    "test_xfail_strict": "XPASS(strict)",
    "test_xfail_elsewhere": "regression",
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
    result = project.runpytest(
        "--gil-compare=base.json",
        GATE,
        *arguments,
        "--junitxml=j.xml",
        "-o",
        f"junit_family={family}",
    )
    result.stdout.fnmatch_lines(
        "test_a.py::test_xfail_strict is over the gate, but is expected to fail*"
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
    result.stdout.no_fnmatch_line("In the baseline, *")


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


@pytest.fixture
def rerun_project(project: pytest.Pytester) -> Callable[[str], pytest.Pytester]:
    """Write one test, whose body may look at RUNS: it has an entry for each run so far."""
    pytest.importorskip("pytest_rerunfailures")

    def write_test(body: str) -> pytest.Pytester:
        project.makepyfile(
            test_a=f"{BUSY}\nRUNS = []\ndef test_one():\n    RUNS.append(0)\n    {body}\n"
        )
        write(project.path / "base.json", test_one=FREE)
        return project

    return write_test


def test_a_rerun_by_another_plugin_is_judged_again(
    rerun_project: Callable[[str], pytest.Pytester],
) -> None:
    project = rerun_project("busy(len(RUNS) == 1)")
    for retries in ([], ["--gil-compare-retries=3"]):
        result = project.runpytest("--gil-compare=base.json", GATE, "--reruns=1", *retries)
        assert result.parseoutcomes() == {"rerun": 1, "passed": 1}
        result.stdout.fnmatch_lines(["1 test of this run compared with base.json: 1 steady"])


def test_a_rerun_that_fails_by_itself_leaves_nothing_to_compare(
    rerun_project: Callable[[str], pytest.Pytester],
) -> None:
    project = rerun_project("busy(); assert len(RUNS) == 1")
    result = project.runpytest("--gil-compare=base.json", GATE, "--reruns=1")
    assert result.parseoutcomes() == {"rerun": 1, "failed": 1}
    result.stdout.fnmatch_lines(["0 tests of this run compared with base.json: nothing *"])


@pytest.mark.parametrize("busy_at", [0, 1])
def test_of_a_test_that_runs_twice_the_one_over_its_gate_counts(
    project: pytest.Pytester, busy_at: int
) -> None:
    project.makepyfile(
        test_a=BUSY
        + f"""
calls = iter((0, 1))

def test_one():
    if next(calls) == {busy_at}:
        busy()

def test_two(): pass
"""
    )
    write(project.path / "base.json", test_one=FREE, test_two=FREE)
    result = project.runpytest(
        "--keep-duplicates",
        "test_a.py",
        "test_a.py",
        "-k",
        "one or two",
        "--gil-compare=base.json",
        "--gil-save=after.json",
        GATE,
    )
    result.assert_outcomes(failed=1, passed=3)
    result.stdout.fnmatch_lines(["!  contention *test_one", "*1 over the gate, 1 steady"])
    assert list(read(project.path / "after.json").tests) == ["test_a.py::test_two"]
