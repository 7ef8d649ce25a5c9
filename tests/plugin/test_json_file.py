"""The JSON file of a whole run."""

import json

import pytest
from support import inner
from support.inner import exact, section


@pytest.mark.parametrize("workers", [0, 2])
def test_json(two_tests, workers):
    result = inner.run(two_tests, "--gil-json=out.json", f"-n{workers}")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["GIL readings written to *out.json"])
    assert section(result) == []
    written = json.loads(two_tests.path.joinpath("out.json").read_text())
    assert written["schema"] == 1
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
    inner.run(two_tests, "--gil-json=out.json", "--gil-max-wait=1ms")
    written = json.loads(two_tests.path.joinpath("out.json").read_text())
    calm, wait = (test["limits"] for test in written["tests"])
    limit = {"kind": "max_wait", "bound": 0.001, "source": "--gil-max-wait"}
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
