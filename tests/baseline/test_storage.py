"""The folder of saved runs: names, references, damage, and two who save at once."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gate_samples import BASELINE, FUZZ

from pytest_gilknock.baseline.codec import dumps, load
from pytest_gilknock.baseline.model import BaselineError
from pytest_gilknock.baseline.storage import SPREAD_RUNS, Storage, check_target, is_path

KIND = "Linux-CPython-3.13-64bit"
TEXT = dumps(BASELINE)
TESTS = Path(__file__).parents[1]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / ".gilknock"), KIND)


def names(paths: list[str]) -> list[str]:
    return [os.path.basename(path) for path in paths]


@pytest.mark.parametrize("value", ["main", "0.9.1", "a" * 80, "pr-17", "x/y.json", "b.json", "7a"])
def test_what_a_run_may_be_saved_as(value: str) -> None:
    check_target(value)


@pytest.mark.parametrize(
    "value",
    [
        *("", ".", "..", "../main", "/tmp/main", "a/b", ".hidden", "-x", "_x", "a" * 81),
        *(
            "a b",
            "a\0b",
            "a\nb",
            "\x1b[2J",
            "é",
            "latest",
            "17",
            "a\0.json",
            "a\n/b.json",
            "a\r.json",
        ),
    ],
)
def test_what_a_run_may_not_be_saved_as_is_told_with_the_accepted_form(value: str) -> None:
    with pytest.raises(ValueError, match="is not a name of up to 80 letters") as error:
        check_target(value)
    assert str(error.value).isprintable()


@FUZZ
@given(st.text())
def test_a_name_that_is_accepted_stays_inside_its_folder(value: str) -> None:
    try:
        check_target(value)
    except ValueError:
        return
    if not is_path(value):
        assert os.path.normpath(os.path.join("/storage", f"0001_{value}.json")) == (
            f"/storage/0001_{value}.json"
        )


def test_runs_are_numbered_and_found_by_name_number_path_and_as_the_latest(
    storage: Storage, tmp_path: Path
) -> None:
    saved = [storage.save(name, TEXT) for name in ("main", "pr-1", "main")]
    assert names(saved) == ["0001_main.json", "0002_pr-1.json", "0003_main.json"]
    assert Path(saved[0]).parent == tmp_path / ".gilknock" / KIND
    assert storage.find("main") == [saved[0], saved[2]]
    assert storage.find("latest") == [saved[2]]
    assert storage.find("2") == storage.find("0002") == [saved[1]]
    assert storage.find("ci/b.json") == ["ci/b.json"]
    assert load(saved[2]) == BASELINE


def test_the_spread_of_a_name_is_that_of_its_latest_runs(storage: Storage) -> None:
    saved = [storage.save("main", TEXT) for _ in range(SPREAD_RUNS + 2)]
    assert storage.find("main") == saved[2:]


def test_numbers_go_on_beyond_four_digits_and_foreign_files_are_left_alone(
    storage: Storage, tmp_path: Path
) -> None:
    folder = tmp_path / ".gilknock" / KIND
    folder.mkdir(parents=True)
    for name in ("9999_main.json", "README.md", "12_old.json", "0007_bad name.json", "x_main.json"):
        folder.joinpath(name).write_text("kept")
    assert names([storage.save("main", TEXT)]) == ["10000_main.json"]
    assert names(storage.find("latest")) == ["10000_main.json"]
    assert folder.joinpath("README.md").read_text() == "kept"


@pytest.mark.parametrize("reference", ["main", "latest", "3", "999999999999", "nul\0", "../x"])
def test_a_reference_to_nothing_is_told(storage: Storage, reference: str) -> None:
    with pytest.raises(BaselineError) as error:
        [load(path) for path in storage.find(reference)]
    assert str(error.value).isprintable()


def test_a_missing_name_is_told_with_the_names_there_are(storage: Storage) -> None:
    with pytest.raises(BaselineError, match="nothing is saved there yet"):
        storage.find("main")
    storage.save("mian", TEXT)
    with pytest.raises(BaselineError, match=r"no saved run 'main' in .*; there are mian$"):
        storage.find("main")


def test_runs_of_another_machine_kind_are_named_and_not_used(tmp_path: Path) -> None:
    Storage(str(tmp_path), "Linux-CPython-3.12-64bit").save("main", TEXT)
    with pytest.raises(BaselineError, match=r"runs of Linux-CPython-3\.12-64bit: compare with"):
        Storage(str(tmp_path), KIND).find("main")


def test_a_storage_that_is_a_file_is_told_before_anything_is_saved(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("")
    storage = Storage(str(tmp_path / "file"), KIND)
    with pytest.raises(NotADirectoryError, match="file is not a folder"):
        storage.check_writable()
    with pytest.raises(BaselineError, match="Not a directory"):
        storage.find("main")


def test_a_dangling_storage_link_is_told(tmp_path: Path) -> None:
    tmp_path.joinpath("link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="link is not a folder"):
        Storage(str(tmp_path / "link"), KIND).check_writable()


def test_a_linked_storage_is_a_storage(tmp_path: Path) -> None:
    tmp_path.joinpath("real").mkdir()
    tmp_path.joinpath("link").symlink_to(tmp_path / "real")
    storage = Storage(str(tmp_path / "link"), KIND)
    storage.check_writable()
    storage.save("main", TEXT)
    assert tmp_path.joinpath("real", KIND, "0001_main.json").read_text() == TEXT


def test_checking_a_storage_makes_nothing(storage: Storage, tmp_path: Path) -> None:
    storage.check_writable()
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_storage_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="is not writable"):
        Storage(str(tmp_path), KIND).check_writable()


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file grow, as on a full disk; not the one that pytest writes to, either."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_leaves_neither_a_run_nor_a_trace(
    storage: Storage, tmp_path: Path
) -> None:
    with no_room(), pytest.raises(OSError, match="File too large"):
        storage.save("main", TEXT)
    assert list(tmp_path.joinpath(".gilknock", KIND).iterdir()) == []


SMALL_DISK = """
import os, subprocess
from pathlib import Path
from support.gate_samples import FULL
from pytest_gilknock.gate import io as gate_io
from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.model import BaselineError
from pytest_gilknock.gate.settings import GateSettings

to_file = GateSettings("", os.path.abspath("base.json"), None, (), False, 0)
to_folder = GateSettings(os.path.abspath("runs"), "main", None, (), False, 0)
new = environment.baseline({f"test_{number}": FULL for number in range(400)})

def files():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}

def refused(step, settings):
    try:
        step(settings, new)
    except (OSError, BaselineError) as error:
        return str(error)
    raise AssertionError("nothing was refused")

for settings in (to_file, to_folder):
    gate_io.save(settings, environment.baseline({"test_0": FULL}))
before = files()
told = [refused(gate_io.save, settings) for settings in (to_file, to_folder)]
assert told == ["base.json: No space left on device", "runs: No space left on device"], told
assert files() == before

subprocess.run(["mount", "-o", "remount,ro", "."], check=True)
told = [refused(gate_io.check_save, settings) for settings in (to_file, to_folder)]
assert all("is not writable" in one for one in told), told
"""


def test_a_full_and_a_read_only_disk_keep_what_they_have(tmp_path: Path) -> None:
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    mount = 'mount -t tmpfs -o size=48k small "$1" && cd "$1" && shift && exec "$@"'
    try:
        subprocess.run([*alone, mount, "sh", str(tmp_path), "true"], check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody mount a disk of their own")
    done = subprocess.run(
        [*alone, mount, "sh", str(tmp_path), sys.executable, "-c", SMALL_DISK],
        env={
            **os.environ,
            "PYTHONPATH": str(TESTS),
        },  # not the tree: the installed package is tested
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_runs_saved_at_once_get_different_numbers(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda number: storage.save(f"n{number % 3}", TEXT), range(40)))
    assert sorted(name[:4] for name in names(paths)) == [f"{n:04}" for n in range(1, 41)]
    assert all(load(path) == BASELINE for path in paths)


def test_processes_that_save_at_once_get_different_numbers(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pytest_gilknock.baseline.storage import Storage\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for _ in range(10):\n"
        f"    Storage(sys.argv[1], {KIND!r}).save(sys.argv[2], 'x')\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b", "b")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.close()
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    saved = sorted(path.name for path in tmp_path.joinpath(KIND).iterdir())
    assert [name[:4] for name in saved] == [f"{number:04}" for number in range(1, 31)]


def test_a_number_whose_save_broke_off_is_passed_over(storage: Storage, tmp_path: Path) -> None:
    storage.save("main", TEXT)
    tmp_path.joinpath(".gilknock", KIND, ".0002.claim").touch()
    assert names([storage.save("main", TEXT)]) == ["0003_main.json"]


def test_a_pipe_or_folder_is_no_baseline_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", tmp_path):
        with pytest.raises(BaselineError, match=r"not a regular file|Is a directory"):
            load(str(path))


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(BaselineError, match="/dev/zero: not a regular file"):
        load("/dev/zero")


@pytest.mark.parametrize("path", ["missing.json", "nul\0.json", "x/" * 3000 + "b.json"])
def test_a_file_that_cannot_be_opened_is_told_by_name_and_reason(path: str) -> None:
    with pytest.raises(BaselineError, match=r"json: .*(No such file|embedded null|name too)"):
        load(path)
