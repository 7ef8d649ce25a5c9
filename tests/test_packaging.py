"""What a source distribution has, and what an installation says where the core cannot be built."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETUP = ROOT / "setup.py"


def test_a_source_distribution_has_all_that_is_tracked(tmp_path):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or not (ROOT / ".git").exists():
        pytest.skip("needs a checkout of git, to know what belongs to it")
    subprocess.run(
        [
            *(sys.executable, str(SETUP), "-q", "egg_info", "--egg-base", str(tmp_path)),
            *("sdist", "--dist-dir", str(tmp_path)),
        ],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        packed = {name.partition("/")[2] for name in files.getnames()}
    assert not set(listed.stdout.splitlines()) - packed
    assert not [name for name in packed if name.endswith((".so", ".pyc"))]


def build(prelude: str, **environment: str) -> str:
    """Begin to build a wheel, and return what is said."""
    script = f"import sys; sys.argv = ['setup.py', 'bdist_wheel']; {prelude}\n"
    script += f"exec(compile(open({str(SETUP)!r}).read(), 'setup.py', 'exec'))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert not done.stdout
    return done.stderr


@pytest.mark.parametrize(
    ("prelude", "environment", "said"),
    [
        ("sys.platform = 'win32'", {}, "it runs on Linux and macOS, and this is win32"),
        ("sys.implementation.name = 'pypy'", {}, "the GIL of CPython, and this is pypy"),
        ("", {"CC": "no-such-compiler -O2"}, "there is no 'no-such-compiler -O2'"),
        (
            "import sysconfig; sysconfig.get_path = lambda name: '/nowhere'",
            {},
            "and /nowhere/Python.h is not there",
        ),
    ],
)
def test_where_it_cannot_be_built_one_sentence_says_why(prelude, environment, said):
    message = build(prelude, **environment)
    assert message.startswith("pytest-gilknock cannot be built: ")
    assert said in message
    assert message.count("\n") == 1
