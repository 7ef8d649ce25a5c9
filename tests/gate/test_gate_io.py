"""Saving to a file that others write, too."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.gate_samples import FULL, read, write

from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.model import BaselineError
from pytest_gilknock.gate import io as gate_io
from pytest_gilknock.gate.settings import GateSettings


def test_runs_that_save_to_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    settings = GateSettings("", str(path), None, (), False, 0)

    def save(number: int) -> str:
        return gate_io.save(settings, environment.baseline({f"test_{number}": FULL}))

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
        gate_io.save(settings, environment.baseline({"test_two": FULL}))
    assert path.read_bytes() == old


def test_a_lock_that_another_process_keeps_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_io, "LOCK_SECONDS", 0.1)
    path = tmp_path / "base.json"
    write(path, test_one=FULL)
    old = path.read_bytes()
    settings = GateSettings("", str(path), None, (), False, 0)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(BaselineError, match=r"base\.json: another process has had .* locked"):
        gate_io.save(settings, environment.baseline({"test_two": FULL}))
    assert path.read_bytes() == old
    os.close(holder)
    gate_io.save(settings, environment.baseline({"test_two": FULL}))
    assert "test_two" in read(path).tests
