"""What a baseline says of where it comes from."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.codec import dumps, loads
from pytest_gilknock.baseline.model import Commit

CI_VARIABLES = [*environment._COMMIT_VARIABLES, *environment._BRANCH_VARIABLES]


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    git(tmp_path, "init", "-q", "-b", "main")
    tmp_path.joinpath("a.py").write_text("")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "-m", "m")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_machine_kind_names_system_interpreter_and_word_size() -> None:
    kind = environment.machine_kind()
    major, minor = sys.version_info[:2]
    assert kind.startswith(f"{platform.system()}-CPython-{major}.{minor}-64bit")


def test_a_free_threaded_build_is_a_kind_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: int(name == "Py_GIL_DISABLED"))
    assert environment.machine_kind().endswith("-freethreaded")


def test_the_baseline_of_this_process_is_one_that_loads() -> None:
    baseline = environment.baseline({})
    assert loads(dumps(baseline).encode(), "b.json") == baseline


def test_commit_branch_and_uncommitted_changes(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert environment.commit_of(str(repository)) == Commit(head, "main", dirty=False)
    repository.joinpath("untracked.txt").write_text("")
    assert environment.commit_of(str(repository)) == Commit(head, "main", dirty=False)
    repository.joinpath("a.py").write_text("changed")
    assert environment.commit_of(str(repository)) == Commit(head, "main", dirty=True)


def test_the_branch_of_a_detached_checkout_is_what_the_ci_says(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "--detach")
    assert environment.commit_of(str(repository)) == Commit(head, None, dirty=False)
    monkeypatch.setenv("GITHUB_HEAD_REF", "")
    monkeypatch.setenv("CI_COMMIT_REF_NAME", "feature/x")
    assert environment.commit_of(str(repository)) == Commit(head, "feature/x", dirty=False)


def test_without_git_the_commit_is_what_the_ci_says_or_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.commit_of(str(tmp_path)) is None
    monkeypatch.setenv("CI_COMMIT_SHA", "3f2a9c1b")
    assert environment.commit_of(str(tmp_path)) == Commit("3f2a9c1b", None, dirty=None)


def test_a_repository_without_a_commit_has_none(tmp_path: Path, repository: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q")
    assert environment.commit_of(str(fresh)) is None
