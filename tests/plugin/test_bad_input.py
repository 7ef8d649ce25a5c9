"""What cannot be used is a usage error that names place, value and accepted form; no test runs."""

import os

import pytest
from support import inner

from pytest_gilknock import _core
from pytest_gilknock.reporting.file_report import formats

FORMATS = ", ".join(formats())
SHARE_FORM = "is not a share from 0 to 1, such as 0.3 or '30%'"
DURATION_FORM = (
    "is not a time with its unit ('300us', '20ms', '1.5s', '2min'), or a number of seconds below 1"
)

TEST = """
import pathlib
import pytest

{marker}
def test_it():
    pathlib.Path("it_ran").touch()
"""


def assert_refused(pytester, message, *args):
    result = inner.run(pytester, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert any(message in line for line in errors), result.errlines
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert not pytester.path.joinpath("it_ran").exists()
    return result


@pytest.fixture
def _a_test(pytester):
    pytester.makepyfile(TEST.format(marker=""))


@pytest.mark.usefixtures("_a_test")
@pytest.mark.parametrize(
    ("option", "value", "form"),
    [
        *[
            ("gil_max_contention", value, f"{value!r} {SHARE_FORM}")
            for value in ["much", "nan", "inf", "-0.1", "1.01", "101%", "20ms"]
        ],
        *[
            ("gil_max_wait", value, f"{value!r} {DURATION_FORM}")
            for value in ["20 parsecs", "nan", "inf", "-1ms", "30%", "1e9"]
        ],
        ("gil_max_wait", "20", "'20' has no unit; write '20ms' or '20s'"),
        ("gil_max_hold", "20", "'20' has no unit; write '20ms' or '20s'"),
        ("gil_max_hold", "20ms@MainThread", f"'20ms@MainThread' {DURATION_FORM}"),
        ("gil_max_lock_wait", "20", "'20' has no unit; write '20ms' or '20s'"),
        (
            "gil_max_lock_wait",
            "20ms@dict",
            "kind 'dict' is not one of objects, interpreter, program",
        ),
        ("gil_max_stop_the_world", "5ms@objects", f"'5ms@objects' {DURATION_FORM}"),
        ("gil_max_wait", "20@MainThread", "'20' has no unit; write '20ms' or '20s'"),
        (
            "gil_max_wait",
            "20ms@",
            "thread '' is not a thread's name such as 'MainThread', or a glob",
        ),
        ("gil_max_wait", "@MainThread", f"'' {DURATION_FORM}"),
        ("gil_switch_interval", "5", "'5' has no unit; write '5ms' or '5s'"),
        ("gil_top", "-1", "'-1' is not a number of rows: 0 for all, or a count such as 10"),
        ("gil_top", "ten", "'ten' is not a number of rows"),
        ("gil_sort", "name", "'name' is not one of wait, max_wait, held, contention, lock_wait"),
        ("gil_method", "guess", "'guess' is not one of auto, exact, sampled"),
        ("gil_switch_interval", "0", "'0' is not a time from 1us to 1min"),
        ("gil_switch_interval", "2min", "'2min' is not a time from 1us to 1min"),
        ("gil_switch_interval", "soon", f"'soon' {DURATION_FORM}"),
    ],
)
@pytest.mark.parametrize("where", ["option", "ini"])
def test_option_or_ini_key(pytester, option, value, form, where):
    if where == "option":
        flag = "--" + option.replace("_", "-")
        assert_refused(pytester, f"{flag}: {form}", f"{flag}={value}")
    else:
        pytester.makeini(f"[pytest]\n{option} = {value}\n")
        assert_refused(pytester, f"ini key {option}: {form}")


@pytest.mark.usefixtures("_a_test")
@pytest.mark.parametrize(
    ("key", "value", "form"),
    [
        ("gil_junit", "some", "'some' is not one of all, limited, none"),
        ("gil_knock_interval", "1us", "'1us' is not a time from 100us to 10s, or 'off'"),
        ("gil_knock_interval", "50", "'50' has no unit; write '50ms' or '50s', or 'off'"),
        ("gil_knock_interval", "often", f"'often' {DURATION_FORM}, or 'off'"),
        ("gil_audit", "perhaps", "ini key gil_audit: invalid truth value 'perhaps'; write true"),
        (
            "gil_report",
            "maybe",
            "ini key gil_report: invalid truth value 'maybe'; write true or false",
        ),
    ],
)
def test_ini_key(pytester, key, value, form):
    pytester.makeini(f"[pytest]\n{key} = {value}\n")
    assert_refused(pytester, form)


@pytest.mark.usefixtures("_a_test")
@pytest.mark.parametrize("value", ["", "  "])
def test_empty_option(pytester, value):
    assert_refused(pytester, f"--gil-max-wait: {value!r} is not", f"--gil-max-wait={value}")


@pytest.mark.usefixtures("_a_test")
def test_an_empty_ini_key_is_not_set(pytester):
    pytester.makeini("[pytest]\ngil_max_wait =\n")
    assert inner.run(pytester).ret == 0


MARKERS = [
    ("max_gil_contention", "the limit is missing; write @pytest.mark.max_gil_contention(0.3)"),
    ("max_gil_contention()", "the limit is missing"),
    ('max_gil_contention("much")', f"'much' {SHARE_FORM}"),
    ("max_gil_contention(float('nan'))", f"nan {SHARE_FORM}"),
    ("max_gil_contention(-0.1)", f"-0.1 {SHARE_FORM}"),
    ("max_gil_contention(1.5)", f"1.5 {SHARE_FORM}"),
    ("max_gil_contention(True)", f"True {SHARE_FORM}"),
    ("max_gil_contention(None)", f"None {SHARE_FORM}"),
    ("max_gil_contention(0.1, 0.2)", "unknown argument 0.2; write @pytest.mark.max_gil_cont"),
    ("max_gil_contention(0.1, limit=0.2)", "the limit is given twice"),
    ("max_gil_contention(0.1, phse='call')", "unknown argument phse"),
    ("max_gil_contention(0.1, phase='run')", "phase 'run' is not one of setup, call, teardown"),
    ("max_gil_contention(0.1, phase=[])", "phase [] is not one of"),
    ('max_gil_wait("20 parsecs")', f"'20 parsecs' {DURATION_FORM}"),
    ("max_gil_wait(20)", "20 has no unit; write '20ms' or '20s'"),
    ("max_gil_wait(-1)", f"-1 {DURATION_FORM}"),
    ("max_gil_wait('20ms', thread='')", "thread '' is not a thread's name such as 'MainThread'"),
    ("max_gil_wait('20ms', thread=1)", "thread 1 is not a thread's name"),
    ("max_gil_wait('20ms@MainThread')", f"'20ms@MainThread' {DURATION_FORM}"),
    ("max_gil_wait('20ms', 'MainThread')", "unknown argument 'MainThread'; write @pytest.mark.max"),
    (
        "max_gil_wait('20ms', tread='MainThread')",
        'unknown argument tread; write @pytest.mark.max_gil_wait("20ms"),'
        ' @pytest.mark.max_gil_wait("20ms", thread="MainThread")'
        ' or @pytest.mark.max_gil_wait("20ms", phase="setup")',
    ),
    ("max_gil_contention(0.1, thread='MainThread')", "unknown argument thread; write"),
    ("max_gil_hold(20)", "20 has no unit; write '20ms' or '20s'"),
    ("max_gil_hold('20ms', thread='MainThread')", "unknown argument thread; write"),
    ("max_gil_hold()", 'the limit is missing; write @pytest.mark.max_gil_hold("20ms")'),
    ("max_lock_wait(20)", "20 has no unit; write '20ms' or '20s'"),
    ("max_lock_wait('20ms', kind='dict')", "kind 'dict' is not one of objects, interpreter"),
    ("max_lock_wait('20ms', kind=[])", "kind [] is not one of objects, interpreter, program"),
    ("max_lock_wait('20ms', thread='MainThread')", "unknown argument thread; write"),
    ("max_stop_the_world('5ms', kind='objects')", "unknown argument kind; write"),
    ("max_stop_the_world()", 'the limit is missing; write @pytest.mark.max_stop_the_world("20ms")'),
    ("max_gil_wait()", 'the limit is missing; write @pytest.mark.max_gil_wait("20ms")'),
]


@pytest.mark.parametrize(("marker", "form"), MARKERS, ids=[marker for marker, _ in MARKERS])
def test_marker(pytester, marker, form):
    path = pytester.makepyfile(TEST.format(marker=f"@pytest.mark.{marker}"))
    name = marker.split("(")[0]
    assert_refused(pytester, f"marker {name} on {path.name}::test_it: {form}")


@pytest.mark.parametrize(
    ("option", "marker", "place"),
    [
        ("--gil-audit", "", "--gil-audit"),
        ("--gil-max-hold=20ms", "", "--gil-max-hold"),
        ("--gil-compare=latest --gil-compare-fail=max_hold:5ms", "", "--gil-compare-fail"),
        ("", "@pytest.mark.max_gil_hold('20ms')", "marker max_gil_hold on *::test_it"),
    ],
)
def test_holds_are_not_audited_without_knocks(pytester, option, marker, place):
    pytester.makepyfile(TEST.format(marker=marker))
    pytester.makeini("[pytest]\ngil_knock_interval = off\n")
    result = assert_refused(pytester, "holds are audited by knocks", *option.split())
    result.stderr.fnmatch_lines([f"ERROR: {place}: *gil_knock_interval is 'off'*'50ms'*"])


def test_every_bad_marker_is_told_at_once(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.max_gil_wait
        def test_a(): pass

        @pytest.mark.max_gil_wait("1ms")
        def test_b(): pass

        @pytest.mark.max_gil_contention(2)
        class TestC:
            def test_c(self): pass
        """
    )
    result = inner.run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*::test_a: the limit is missing*", "*::test_c: 2 is not a share*"]
    )
    result.stderr.no_fnmatch_line("*test_b*")


def test_a_bad_marker_of_a_test_that_does_not_run_is_no_error(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.max_gil_wait
        def test_a(): pass

        def test_b(): pass
        """
    )
    inner.run(pytester, "-k", "test_b").assert_outcomes(passed=1, deselected=1)


def test_names_from_outside_are_escaped(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.max_gil_wait
        @pytest.mark.parametrize("x", [0], ids=["\\x9b31m"])
        def test_a(x): pass
        """
    )
    result = inner.run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "\x9b" not in result.stderr.str()


@pytest.mark.parametrize("args", [(), ("--gil-report",)], ids=["plain", "report"])
def test_a_bad_marker_under_xdist(pytester, args):
    path = pytester.makepyfile(TEST.format(marker="@pytest.mark.max_gil_wait('20 parsecs')"))
    result = assert_refused(
        pytester,
        f"marker max_gil_wait on {path.name}::test_it: '20 parsecs' {DURATION_FORM}",
        "-n2",
        *args,
    )
    assert "Traceback" not in result.stderr.str()


@pytest.fixture
def _no_exact(monkeypatch):
    monkeypatch.setattr(_core, "status", lambda: ("sampled", "the self-test failed"))


@pytest.mark.usefixtures("_a_test", "_no_exact")
def test_exact_where_it_cannot_be_had(pytester):
    assert_refused(
        pytester,
        "--gil-method: 'exact' cannot be had here: the self-test failed",
        "--gil-report",
        "--gil-method=exact",
    )


def test_exact_where_it_cannot_be_had_under_xdist(pytester):
    pytester.makepyfile(TEST.format(marker=""))
    pytester.makeconftest(
        """
        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                from pytest_gilknock import _core
                _core.status = lambda: ("disabled", None)
        """
    )
    args = ["--gil-report", "--gil-method=exact", "-n2"]
    assert_refused(pytester, "--gil-method: 'exact' cannot be had here: disabled", *args)


@pytest.mark.usefixtures("_a_test")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone/out.json", "gone is not a directory; give the path of a file to write"),
        (".", "is a directory"),
        ("test_option.py/out.json", "is not a directory"),
        ("", "'' is not a path"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_json_path(pytester, path, message, workers):
    pytester.path.joinpath("test_option.py").touch()
    result = assert_refused(pytester, message, f"--gil-json={path}", f"-n{workers}")
    assert "--gil-json: " in result.stderr.str()


@pytest.mark.usefixtures("_a_test")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--gil-export=csv:x"],
            f"--gil-export: 'csv' is no format; there are {FORMATS}",
        ),
        (
            ["--gil-export=out.json"],
            "--gil-export: 'out.json' is not FORMAT:PATH, such as json:gil.json; the formats are"
            f" {FORMATS}",
        ),
        (["--gil-export=json:"], "'json:' is not FORMAT:PATH"),
        (["--gil-export=:x"], "'' is no format"),
        (["--gil-export=../json:x"], "'../json' is no format"),
        (["--gil-export=json:gone/x"], "gone is not a directory; give the path of a file to write"),
        (["--gil-export=json:a", "--gil-export=json:gone/x"], "gone is not a directory"),
        (
            ["--gil-json=x", "--gil-export=github-action-benchmark:sub/../x"],
            "asked for twice, as github-action-benchmark by --gil-export and as json by --gil-json",
        ),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_exports(pytester, arguments, message, workers):
    assert_refused(pytester, message, *arguments, f"-n{workers}")
    assert not pytester.path.joinpath("x").exists()


@pytest.mark.usefixtures("_a_test")
def test_exports_of_the_ini_file(pytester):
    pytester.makeini("[pytest]\ngil_export =\n    json:a\n    csv:b\n")
    assert_refused(pytester, "ini key gil_export: 'csv' is no format; there are")


@pytest.mark.usefixtures("_a_test")
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into every folder"
)
def test_json_path_in_a_folder_that_is_not_writable(pytester):
    pytester.mkdir("locked").chmod(0o500)
    assert_refused(pytester, "is not writable: Permission denied", "--gil-json=locked/out.json")


typed_toml = pytest.mark.skipif(
    pytest.version_tuple < (9,), reason="pytest 9 came to read typed TOML"
)


@typed_toml
@pytest.mark.usefixtures("_a_test")
def test_a_toml_value_of_another_type(pytester):
    pytester.makepyprojecttoml("[tool.pytest]\ngil_top = true\n")
    assert_refused(pytester, "got bool: True; write it as text, in quotes")
    pytester.makepyprojecttoml('[tool.pytest]\ngil_export = "json:x"\n')
    assert_refused(pytester, "; write a list of texts")


@typed_toml
@pytest.mark.usefixtures("_a_test")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gil_top = -5", "ini key gil_top: -5 is not a number of rows"),
        (
            "gil_sort = 5",
            "ini key gil_sort: 5 is not one of wait, max_wait, held, contention, lock_wait",
        ),
        ("gil_max_wait = 20", "ini key gil_max_wait: 20 has no unit; write '20ms' or '20s'"),
        ("gil_max_contention = 1.5", f"ini key gil_max_contention: 1.5 {SHARE_FORM}"),
    ],
)
def test_a_toml_number_that_cannot_be_used(pytester, line, message):
    pytester.makepyprojecttoml(f"[tool.pytest]\n{line}\n")
    assert_refused(pytester, message)


@typed_toml
@pytest.mark.usefixtures("_a_test")
def test_toml_numbers(pytester):
    pytester.makepyprojecttoml(
        "[tool.pytest]\ngil_top = 5\ngil_max_wait = 0.5\ngil_max_contention = 1\n"
        "gil_knock_interval = 0.05\ngil_switch_interval = 0.005\n"
    )
    inner.run(pytester).assert_outcomes(passed=1)


@pytest.mark.usefixtures("_a_test")
@pytest.mark.parametrize("option", ["--gil-top=5", "--gil-sort=held"])
def test_an_option_of_the_table_without_a_table(pytester, option):
    flag = option.partition("=")[0]
    assert_refused(pytester, f"{flag} has no effect without --gil-report", option)
    assert_refused(pytester, f"{flag} has no effect", option, "--gil-max-wait=10s")


@pytest.mark.usefixtures("_a_test")
def test_the_table_of_a_comparison_has_rows_too(pytester):
    assert inner.run(pytester, "--gil-save=base.json").ret == 0
    assert inner.run(pytester, "--gil-compare=base.json", "--gil-top=5").ret == 0
    pytester.path.joinpath("it_ran").unlink()
    assert_refused(
        pytester, "--gil-sort has no effect", "--gil-compare=base.json", "--gil-sort=held"
    )
