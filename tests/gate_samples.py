"""A baseline on scripted numbers, shared by the tests of everything made of baselines."""

from pytest_gilknock.baseline import Baseline, Commit, Entry, Interpreter, Machine

ENTRY = Entry(
    method="exact",
    contention=0.5,
    wait=0.25,
    max_wait=0.005,
    contended=51,
    held=0.5,
    wall=1.0,
    knocks=50,
    knocks_waited=25,
)
MACHINE = Machine(kind="Linux-CPython-3.13-64bit", release="6.8.0", arch="x86_64", cpus=2)
INTERPRETER = Interpreter(version="3.13.0", gil_enabled=True, switch_interval=0.005)
BASELINE = Baseline(
    created="2025-01-31T12:00:00Z",
    machine=MACHINE,
    interpreter=INTERPRETER,
    commit=Commit(id="3f2a9c1b", branch="main", dirty=False),
    tests={"test_a.py::test_one": ENTRY, "test_a.py::test_two": ENTRY},
)
