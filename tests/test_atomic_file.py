import errno
import gzip
import os
import stat

import pytest

from pytest_gilknock.atomic_file import check_replaceable, replace


def test_replace_writes_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "out.json"
    replace(str(path), ["first"])
    replace(str(path), ["gr", "üß"])
    assert path.read_text(encoding="utf-8") == "grüß"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    name = "n" * os.pathconf(tmp_path, "PC_NAME_MAX")
    check_replaceable(str(tmp_path / name))
    replace(str(tmp_path / name), ["new"])
    assert os.listdir(tmp_path) == [name]


def test_compressed_files_of_the_same_text_are_the_same(tmp_path):
    for name in ("a.gz", "b.gz"):
        replace(str(tmp_path / name), ["gr", "üß"], compressed=True)
    written = [(tmp_path / name).read_bytes() for name in ("a.gz", "b.gz")]
    assert written[0] == written[1]
    assert gzip.decompress(written[0]).decode("utf-8") == "grüß"


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "other").touch()
    replace(str(tmp_path / "out.json"), [])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(mode)
    check_replaceable(str(path))
    replace(str(path), ["new"])
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_stays_a_link(tmp_path):
    target = tmp_path / "target"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    check_replaceable(str(link))
    replace(str(link), ["new"])
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch, fails):
    path = tmp_path / "out.json"
    path.write_text("old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if fails == "write":
        monkeypatch.setattr("builtins.open", full)
    else:
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        replace(str(path), ["new"])
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_text_that_breaks_off_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("old")

    def pieces():
        yield "new"
        raise MemoryError

    with pytest.raises(MemoryError):
        replace(str(path), pieces())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_check_leaves_nothing_behind(tmp_path):
    check_replaceable(str(tmp_path / "out.json"))
    assert os.listdir(tmp_path) == []


def test_check_refuses_what_is_no_file(tmp_path):
    with pytest.raises(OSError, match="is a directory"):
        check_replaceable(str(tmp_path))
    with pytest.raises(OSError, match="gone is not a directory"):
        check_replaceable(str(tmp_path / "gone" / "out.json"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file is not a directory"):
        check_replaceable(str(tmp_path / "file" / "out.json"))
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "out.json")
    with pytest.raises(OSError, match="gone is not a directory"):
        check_replaceable(str(tmp_path / "link"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_check_refuses_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a regular file"):
        check_replaceable(str(tmp_path / "pipe"))


def test_check_refuses_a_folder_that_takes_no_file(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="is not writable: Permission denied"):
        check_replaceable(str(tmp_path / "out.json"))
