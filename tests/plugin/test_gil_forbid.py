"""``--gil-forbid``, and which import turned the GIL on."""

import _imp
import os
import shutil
import subprocess
import sys
import sysconfig
from types import SimpleNamespace

import pytest
from support.scripted_gil import IMPORTS, script_gil

from pytest_gilknock.measurement import gil_watch
from pytest_gilknock.model.stack import Frame

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
COMPILER = (sysconfig.get_config_var("CC") or "cc").split()

free_threaded = [
    pytest.mark.skipif(not FREE_THREADED, reason="this Python cannot do without the GIL"),
    pytest.mark.skipif(os.environ.get("PYTHON_GIL") == "1", reason="the GIL is on from the start"),
    pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason="no compiler here"),
]

# A module that does not say that it can do without the GIL.
SOURCE = """
#include <Python.h>
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "needs_the_gil", .m_slots = slots};
PyMODINIT_FUNC PyInit_needs_the_gil(void) { return PyModuleDef_Init(&definition); }
"""


@pytest.fixture
def needs_the_gil(pytester: pytest.Pytester) -> None:
    """Have a module in the project whose import turns the GIL on, and one that imports it."""
    source = pytester.path / "needs_the_gil.c"
    source.write_text(SOURCE)
    module = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    include = sysconfig.get_path("include")
    subprocess.run(
        [*COMPILER, "-shared", "-fPIC", f"-I{include}", source, "-o", module], check=True
    )
    pytester.makepyfile(facade="import needs_the_gil\n")


@pytest.mark.skipif(FREE_THREADED, reason="this Python can do without the GIL")
@pytest.mark.parametrize("by", ["option", "ini"])
def test_a_python_that_always_has_its_gil_is_refused(pytester: pytest.Pytester, by: str) -> None:
    if by == "ini":
        pytester.makeini("[pytest]\ngil_forbid = true")
    result = pytester.runpytest(*(["--gil-forbid"] if by == "option" else []))
    place = "--gil-forbid" if by == "option" else "ini key gil_forbid"
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {place}: this Python always has its GIL; run it with*"])


def test_the_ini_key_may_say_no(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngil_forbid = false")
    pytester.makepyfile("def test_x(): pass")
    pytester.runpytest().assert_outcomes(passed=1)


def test_the_ini_key_is_true_or_false(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngil_forbid = perhaps")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ini key gil_forbid: *perhaps*; write true or false"])


class Switch:
    """A GIL that a scripted import turns on."""

    def __init__(self, on: bool) -> None:
        self.on = on


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    gil = Switch(on=False)

    def create_dynamic(spec: SimpleNamespace, *arguments: object) -> str:
        gil.on = gil.on or spec.name.startswith("needs")
        if spec.name.endswith("broken"):
            raise ImportError(spec.name)
        return f"module {spec.name}"

    monkeypatch.setattr(gil_watch, "gil_enabled", lambda: gil.on)
    monkeypatch.setattr(_imp, "create_dynamic", create_dynamic)
    monkeypatch.setattr(gil_watch._Watch, "found", None)
    monkeypatch.setattr(gil_watch._Watch, "original", None)
    return gil


def load(name: str) -> object:
    return _imp.create_dynamic(SimpleNamespace(name=name, origin=f"/x/{name}.so"))


def test_the_import_that_turns_the_gil_on_is_noted(switch: Switch) -> None:
    original = _imp.create_dynamic
    gil_watch.start()
    gil_watch.start()
    assert load("harmless") == "module harmless"
    assert gil_watch.found() is None
    assert load("needs.gil") == "module needs.gil"
    enabler = gil_watch.found()
    assert enabler is not None
    assert (enabler.module, enabler.distribution) == ("needs.gil", None)
    importer = enabler.importers[0]
    assert (importer.file, importer.function) == (__file__, "load")
    assert _imp.create_dynamic is original  # nothing more to watch


def test_importers_are_shown_as_every_other_line() -> None:
    files = ("/proj/app/db.py", "/env/lib/python3.13t/site-packages/orm/core.py", "/etc/site.py")
    enabler = gil_watch.GilEnabler("x", None, tuple(Frame(file, 3, "f") for file in files))
    places = ["app/db.py:3", "site-packages/orm/core.py:3", "/etc/site.py:3"]
    assert enabler.places("/proj") == places
    chain = "".join(f", imported by {place}" for place in places)
    assert enabler.text("/proj") == f"module 'x'{chain}"


def test_an_import_that_fails_may_have_turned_it_on(switch: Switch) -> None:
    gil_watch.start()
    with pytest.raises(ImportError, match="needs_broken"):
        load("needs_broken")
    assert gil_watch.found() is not None


def test_the_installed_package_is_named_with_its_version(switch: Switch) -> None:
    gil_watch.start()
    switch.on = False
    assert gil_watch._distribution("pytest.x") == f"pytest {pytest.__version__}"
    assert gil_watch._distribution("no_such_module") is None


def test_with_the_gil_on_nothing_is_watched(switch: Switch) -> None:
    switch.on = True
    original = _imp.create_dynamic
    gil_watch.start()
    assert _imp.create_dynamic is original


@pytest.fixture
def scripted_gil(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    script_gil(pytester, monkeypatch)


FORBIDDEN = (
    "GIL forbidden: the GIL is enabled by module 'needs.gil' of needs 1.0, imported by app.py:3;"
    " set by --gil-forbid"
)


@pytest.mark.usefixtures("scripted_gil")
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("tests", "outcomes"),
    [
        (f"def test_a():\n    {IMPORTS}\n", {"failed": 1, "passed": 1}),
        (f"def test_a():\n    {IMPORTS}\n    pytest.skip('x')\n", {"skipped": 1, "passed": 1}),
        (
            f"@pytest.mark.xfail\ndef test_a():\n    {IMPORTS}\n    assert False\n",
            {"xfailed": 1, "passed": 1},
        ),
        (f"@pytest.mark.xfail\ndef test_a():\n    {IMPORTS}\n", {"xpassed": 1, "passed": 1}),
        (
            "class TestA(unittest.TestCase):\n    def test_a(self):\n"
            f"        {IMPORTS}\n        self.skipTest('x')\n",
            {"skipped": 1, "passed": 1},
        ),
        (
            f"@pytest.fixture\ndef late():\n    yield\n    {IMPORTS}\n\ndef test_a(late): pass\n",
            {"passed": 2, "errors": 1},
        ),
        (
            "@pytest.fixture(scope='session')\ndef late():\n    yield\n"
            f"    {IMPORTS}\n\ndef test_a(late): pass\n",
            {"passed": 2, "errors": 1},
        ),
        (
            f"@pytest.fixture(autouse=True)\ndef early(request):\n    {IMPORTS}\n"
            "    pytest.skip('x')\n\ndef test_a(): pass\n",
            {"skipped": 2},
        ),
    ],
    ids=["test", "skip", "xfail", "xpass", "unittest", "teardown", "session", "setup"],
)
def test_a_run_that_turns_the_gil_on_fails_whatever_becomes_of_the_test(
    pytester: pytest.Pytester, tests: str, outcomes: dict[str, int], workers: int
) -> None:
    pytester.makepyfile(test_x=f"import pytest, unittest\n{tests}\ndef test_z(): pass\n")
    result = pytester.runpytest("--gil-forbid", f"-n{workers}")
    result.assert_outcomes(**outcomes)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([FORBIDDEN])


@pytest.mark.usefixtures("scripted_gil")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_whose_gil_stays_off_passes(pytester: pytest.Pytester, workers: int) -> None:
    pytester.makepyfile(test_x="def test_a(): pass\n")
    result = pytester.runpytest("--gil-forbid", f"-n{workers}")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*GIL forbidden*")


@pytest.mark.usefixtures("scripted_gil")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_is_refused_says_so_once(pytester: pytest.Pytester, workers: int) -> None:
    pytester.makepyfile(test_x=f"{IMPORTS}\ndef test_a(): pass\n")
    result = pytester.runpytest("--gil-forbid", f"-n{workers}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --gil-forbid: the GIL is enabled by module 'needs.gil'*"])
    result.stdout.no_fnmatch_line("*GIL forbidden*")


class TestFreeThreaded:
    pytestmark = free_threaded

    @pytest.mark.usefixtures("needs_the_gil")
    def test_a_test_that_turns_the_gil_on_fails_and_names_who_did(
        self, pytester: pytest.Pytester
    ) -> None:
        pytester.makepyfile("def test_a(): pass\n\ndef test_b():\n    import facade\n")
        result = pytester.runpytest_subprocess("--gil-forbid", "-rf")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(
            [
                "GIL forbidden: the GIL is enabled by module 'needs_the_gil', imported by"
                " facade.py:1, imported by test_*.py:4*",
                "  set by --gil-forbid",
            ]
        )

    @pytest.mark.usefixtures("needs_the_gil")
    @pytest.mark.parametrize("workers", ["-n0", "-n2"])
    def test_a_test_that_skips_after_it_fails_the_run(
        self, pytester: pytest.Pytester, workers: str
    ) -> None:
        pytester.makepyfile(
            "import pytest\n\ndef test_a():\n    import facade\n    pytest.skip('no')\n\n"
            "def test_b(): pass\n"
        )
        result = pytester.runpytest_subprocess("--gil-forbid", workers)
        result.assert_outcomes(passed=1, skipped=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(
            [
                "GIL forbidden: the GIL is enabled by module 'needs_the_gil', imported by"
                " facade.py:1, imported by test_*.py:4; set by --gil-forbid"
            ]
        )

    @pytest.mark.usefixtures("needs_the_gil")
    @pytest.mark.parametrize("file", ["conftest", "test_x"])
    def test_an_import_before_the_tests_ends_the_run(
        self, pytester: pytest.Pytester, file: str
    ) -> None:
        pytester.makepyfile(test_x="def test_a(): pass")
        path = pytester.path / f"{file}.py"
        old = path.read_text() if path.exists() else ""
        path.write_text(f"import facade\n{old}")
        result = pytester.runpytest_subprocess("--gil-forbid")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [
                "*--gil-forbid: the GIL is enabled by module 'needs_the_gil', imported by"
                f" facade.py:1, imported by {file}.py:1*"
            ]
        )

    def test_a_run_without_the_gil_passes(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile("def test_a(): pass")
        pytester.runpytest_subprocess("--gil-forbid").assert_outcomes(passed=1)

    def test_a_gil_that_is_on_from_the_start_is_refused(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHON_GIL", "1")
        result = pytester.runpytest_subprocess("--gil-forbid")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*--gil-forbid: the GIL is on already, by PYTHON_GIL=1*"])

    @pytest.mark.usefixtures("needs_the_gil")
    def test_a_gate_fails_the_first_test_with_a_gil_that_it_did_not_have(
        self, pytester: pytest.Pytester
    ) -> None:
        tests = pytester.makepyfile("def test_a(): pass\n\ndef test_b(): pass\n")
        pytester.runpytest_subprocess("--gil-save=b.json").assert_outcomes(passed=2)
        tests.write_text("import facade\n" + tests.read_text())
        compare = ["--gil-compare=b.json", "--gil-compare-retries=2"]
        pytester.runpytest_subprocess(*compare[:1]).assert_outcomes(passed=2)
        result = pytester.runpytest_subprocess(*compare, "--gil-compare-fail=wait:1s")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(
            [
                "GIL contention regression: enabled, was disabled, turned on by needs_the_gil",
                "  module      needs_the_gil",
                "  imported by facade.py:1",
                "  set by      --gil-compare-fail: a gate on any metric forbids it",
                "The GIL is enabled, and was disabled before: 2 tests (*",
            ]
        )
        pytester.runpytest_subprocess("--gil-save=now.json")
        done = pytester.run(
            *(sys.executable, "-m", "pytest_gilknock", "compare", "b.json", "now.json"),
            "--fail=wait:1s",
        )
        assert done.ret == 1

    @pytest.mark.usefixtures("needs_the_gil")
    def test_a_gate_fails_the_next_test_where_the_first_is_expected_to_fail(
        self, pytester: pytest.Pytester
    ) -> None:
        text = "import pytest\n\n@pytest.mark.xfail\ndef test_a():\n    {}\n\ndef test_b(): pass\n"
        tests = pytester.makepyfile(text.format("pass"))
        pytester.runpytest_subprocess("--gil-save=b.json").assert_outcomes(xpassed=1, passed=1)
        tests.write_text(text.format("import facade"))
        result = pytester.runpytest_subprocess("--gil-compare=b.json", "--gil-compare-fail=wait:1s")
        result.assert_outcomes(xpassed=1, failed=1)

    @pytest.mark.usefixtures("needs_the_gil")
    def test_a_gate_fails_the_test_that_turns_the_gil_on_even_if_it_is_the_last(
        self, pytester: pytest.Pytester
    ) -> None:
        tests = pytester.makepyfile("def test_a(): pass\n\ndef test_b():\n    pass\n")
        pytester.runpytest_subprocess("--gil-save=b.json").assert_outcomes(passed=2)
        tests.write_text("def test_a(): pass\n\ndef test_b():\n    import facade\n")
        result = pytester.runpytest_subprocess("--gil-compare=b.json", "--gil-compare-fail=wait:1s")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(
            [
                "FAILED *::test_b - GIL: enabled, was disabled, turned on by needs_the_gil*",
            ]
        )
