"""The JSON file of a whole run."""

import json

import pytest
from support import inner
from support.inner import exact, section

from pytest_gilknock.reporting.file_reports.json import JsonReport


@pytest.mark.parametrize("workers", [0, 2])
def test_json(two_tests, workers):
    result = inner.run(two_tests, "--gil-json=out.json", f"-n{workers}")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["GIL readings written to *out.json"])
    assert section(result) == []
    written = json.loads(two_tests.path.joinpath("out.json").read_text())
    assert written["schema"] == 2
    assert written["run"]["processes"] == max(1, workers)
    assert [test["nodeid"].split("::")[1] for test in written["tests"]] == [
        "test_calm",
        "test_wait",
    ]
    for test in written["tests"]:
        assert test["outcome"] == "passed"
        assert test["limits"] == []
        assert test["reading"]["wall"] > 0.0
    assert sorted(two_tests.path.glob("*out.json*")) == [two_tests.path / "out.json"]


@pytest.mark.parametrize("workers", [0, 2])
def test_several_exports(two_tests, workers):
    two_tests.mkdir("sub")
    result = inner.run(
        two_tests,
        "--gil-export=json:a:b.json",
        "--gil-json=sub/c.json",
        "--gil-export=github-action-benchmark:d.json",
        f"-n{workers}",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [f"GIL readings written to *{name}" for name in ("a:b.json", "d.json", "sub?c.json")]
    )
    one, other = (
        json.loads(two_tests.path.joinpath(name).read_text()) for name in ("a:b.json", "sub/c.json")
    )
    assert one == other
    assert len(one["tests"]) == 2
    benches = json.loads(two_tests.path.joinpath("d.json").read_text())
    assert {bench["name"].rpartition(" ")[0] for bench in benches} == {
        test["nodeid"] for test in one["tests"]
    }


def test_exports_of_the_ini_file_lie_in_the_root_directory(pytester):
    pytester.makeini("[pytest]\ngil_export =\n    json:gil.json\n")
    pytester.mkdir("sub").joinpath("test_a.py").write_text("def test_a(): pass\n")
    written = pytester.path / "gil.json"
    for arguments, there in ([], True), (["--gil-json=out.json"], False):
        inner.run(pytester, "sub", *arguments)
        assert written.exists() is there
        written.unlink(missing_ok=True)
    assert pytester.path.joinpath("out.json").exists()


def test_an_export_that_cannot_be_written_keeps_no_other_back(pytester):
    pytester.mkdir("out")
    pytester.makepyfile("import os\ndef test_a(): os.rmdir('out')\n")
    result = inner.run(pytester, "--gil-export=json:out/a", "--gil-export=json:b")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(
        ["--gil-export: *No such file or directory*", "GIL readings written to *b"]
    )
    assert json.loads(pytester.path.joinpath("b").read_text())["schema"] == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("no\x1b[2J"), "RuntimeError: no\\x1b[[]2J"),
        (OSError("without a number"), "without a number"),
        (OSError(), "OSError"),
    ],
)
def test_an_export_that_raises_keeps_back_neither_the_summary_nor_others(
    pytester, monkeypatch, error, said
):
    def write(self, results):
        yield "half"
        raise error

    monkeypatch.setattr(JsonReport, "write", write)
    pytester.makepyfile("def test_a(): assert 0")
    result = inner.run(pytester, "--gil-export=json:a", "--gil-export=bencher:b")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*def test_a(): assert 0",
            f"--gil-export: *a: {said}",
            "GIL readings written to *b",
            "FAILED *::test_a*",
        ]
    )
    assert not pytester.path.joinpath("a").exists()


def test_a_run_that_exports_nothing_imports_no_export(pytester):
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            print([name for name in sys.modules if "gilknock.reporting" in name])
        """
    )
    pytester.makepyfile("def test_a(): pass")
    result = pytester.runpytest_subprocess("-s", "--gil-report")
    assert "pytest_gilknock.reporting.reporter" in result.stdout.str()
    assert "reporting.export" not in result.stdout.str()
    assert "reporting.file_report" not in result.stdout.str()


@pytest.mark.parametrize("count", [0, 120])
def test_json_of_no_tests_and_of_many(pytester, count):
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("number", range({count}))
        def test_a(number):
            pass
        """
    )
    inner.run(pytester, "--gil-json=out.json")
    written = json.loads(pytester.path.joinpath("out.json").read_text())
    names = [test["nodeid"].rpartition("::")[2] for test in written["tests"]]
    assert len(names) == count
    assert names == sorted(names)


@exact
def test_json_tells_limits_and_their_verdicts(two_tests):
    inner.run(two_tests, "--gil-json=out.json", "--gil-max-wait=20ms")
    written = json.loads(two_tests.path.joinpath("out.json").read_text())
    calm, wait = (test["limits"] for test in written["tests"])
    limit = {"kind": "max_wait", "bound": 0.02, "source": "--gil-max-wait", "thread": None}
    limit["lock_kind"] = None
    assert calm == [{**limit, "verdict": "kept", "fact": None}]
    assert wait[0]["verdict"] == "breached"
    assert wait[0]["fact"].startswith("max wait ")


def test_json_of_a_run_that_stops(pytester):
    pytester.makepyfile("def test_a(): assert 0\ndef test_b(): pass\n")
    assert inner.run(pytester, "--gil-json=out.json", "-x").ret == 1
    written = json.loads(pytester.path.joinpath("out.json").read_text())
    assert [test["outcome"] for test in written["tests"]] == ["failed"]


def test_a_file_that_cannot_be_written_in_the_end(pytester):
    pytester.mkdir("out")
    pytester.makepyfile("import os\ndef test_a(): os.rmdir('out')\n")
    result = inner.run(pytester, "--gil-json=out/gil.json")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["--gil-json: *gil.json: *No such file or directory*"])
