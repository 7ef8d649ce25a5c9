"""The first windows of a process, which find out how it can be measured.

Each attempt is a process of its own, which does nothing before.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import scripting
from scripting import METHOD, case, not_here, opened, require_locks

HERE = Path(__file__).parent
PATIENCE = 60  # s, for one attempt

START = """
import sys, threading, time
sys.path[:0] = sys.argv[2:]
from pytest_gilknock import _core
from loads import in_threads, use_smallest_stacks

METHOD = sys.argv[1]
sys.setswitchinterval(1e-6)
"""


def ends_well(program: str) -> None:
    """Run a program in a process of its own; raise unless it ends with 0 and prints nothing."""
    command = [sys.executable, "-X", "faulthandler", "-c", START + program]
    done = subprocess.run(
        [*command, METHOD, str(HERE), str(HERE.parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


@case(usual=10, nightly=1000)
def opened_at_the_same_time(count: int) -> None:
    """They are all measured in the same way: the others wait for what the first one finds."""
    for _ in range(count):
        ends_well("""
windows = [_core.Window() for _ in range(8)]
readings = []
barrier = threading.Barrier(len(windows))

def measure():
    window = windows.pop()
    barrier.wait()
    window.begin()
    time.sleep(1e-3)
    readings.append(window.end())

in_threads(len(windows), measure)
told = {(raw["method"], raw["reason"]) for raw in readings}
assert len(readings) == 8
assert len(told) == 1, told
assert {method for method, _ in told} == {METHOD}, told
""")


@case(usual=10, nightly=1000)
def one_window_begun_by_many_at_once(count: int) -> None:
    """It opens once; the others are told so. Nor can it be read before it is open."""
    for _ in range(count):
        ends_well("""
window = _core.Window()
barrier = threading.Barrier(8)
told = []

def begin():
    barrier.wait()
    try:
        window.begin()
        told.append("open")
    except RuntimeError as error:
        told.append(str(error))

in_threads(8, begin)
assert told.count("open") == 1, told
assert told.count("a window opens once") == 7, told
window.end()
another = _core.Window()
another.begin()
another.end()
""")


@case(usual=10, nightly=1000)
def one_window_ended_by_many_at_once(count: int) -> None:
    """One of them gets its reading; the others are told that it is not open."""
    for _ in range(count):
        ends_well("""
barrier = threading.Barrier(8)

def end():
    barrier.wait()
    try:
        told.append(window.end()["method"])
    except RuntimeError as error:
        told.append(str(error))

for _ in range(20):
    window, told = _core.Window(), []
    window.begin()
    in_threads(8, end)
    assert told.count(METHOD) == 1, told
    assert told.count("the window is not open") == 7, told
""")


@case(usual=1, nightly=50)
def opened_by_whom_the_examining_thread_waits_for(count: int) -> None:
    """It is measured by knocks and says so, and forks go on; later ones are measured as usual."""
    if METHOD == "disabled":
        not_here("the GIL is off: nothing is examined")
    for _ in range(count):
        ends_well("""
import os, warnings
warnings.simplefilter("ignore")  # of forks beside threads
examining, go_on = threading.Event(), threading.Event()
getswitchinterval = sys.getswitchinterval

def wait():
    sys.getswitchinterval = getswitchinterval
    examining.set()
    go_on.wait()
    return getswitchinterval()

def measure():
    window = _core.Window()
    window.begin()
    raw = window.end()
    return raw["method"], raw["reason"]

sys.getswitchinterval = wait
examiner = threading.Thread(target=measure, daemon=True)
examiner.start()
examining.wait()
told = measure()
assert told == ("sampled", "whether it can be is still being found out"), told
pid = os.fork()
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
go_on.set()
examiner.join()
assert measure()[0] == METHOD, measure()
""")


@case(usual=3, nightly=200)
def after_a_knocker_of_the_other_interface(count: int) -> None:
    """Its thread is not the program's, though it began before there was anything to tell that."""
    if METHOD != "exact":
        not_here("threads are told apart by the exact method only")
    for _ in range(count):
        ends_well("""
knocker = _core.Knocker(100, 1_000_000, 0)
knocker.start()
while knocker.times()[0] == 0:
    sum(range(100_000))
window = _core.Window()
window.begin()
before = time.monotonic()
while time.monotonic() < before + 0.1:
    sum(range(100_000))
raw = window.end()
knocker.stop()
assert raw["method"] == "exact", raw
assert raw["wait"] < 0.02, raw
assert raw["acquisitions"] < 10, raw
assert [thread[0] for thread in raw["threads"]] == [threading.get_native_id()], raw
""")


@case(usual=3, nightly=200)
def in_a_thread_with_the_smallest_stack(count: int) -> None:
    for _ in range(count):
        ends_well("""
use_smallest_stacks()
readings = []

def measure():
    window = _core.Window()
    window.begin()
    sum(range(1000))
    readings.append(window.end())

in_threads(1, measure)
assert readings[0]["method"] == METHOD, readings
""")


RAISING = """
import os, signal, sys, time
from pytest_gilknock import _core

class Late([Exception, MemoryError, RecursionError][int(sys.argv[3])]):
    pass  # a watch on memory may raise the second

def handler(*_):
    raise Late("with its text")

sys.unraisablehook = lambda _: os._exit(0)  # in a callback of importlib's nobody can raise
signal.signal(signal.SIGALRM, handler)
window = _core.Window()
try:
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
    window.begin()
    for _ in range(10_000):  # a signal just before a call begins does not interrupt that
        time.sleep(1e-3)
    raise AssertionError("lost")
except Late as exception:
    assert exception.args == ("with its text",)
window = _core.Window()
window.begin()
raw = window.end()
assert raw["blame_method"] == sys.argv[2], (raw["blame_method"], raw["blame_reason"])
"""


@case(usual=24, nightly=500)
def in_which_the_handler_of_a_signal_raises(count: int) -> None:
    """What it raises reaches the program, and the look at known code is made again."""
    raw = opened().end()
    for i in range(count):
        moment = str(3e-4 + 3e-3 * i / count)
        command = [sys.executable, "-c", RAISING, moment, str(raw["blame_method"]), str(i % 3)]
        subprocess.run(command, check=True, timeout=60)


@case(usual=3, nightly=50)
def where_no_code_may_be_compiled(count: int) -> None:
    """Then blame is not looked for, and the program is not told of it."""
    if METHOD == "disabled":
        not_here("the GIL is off: nobody waits for it")
    for _ in range(count):
        ends_well("""
import sys
refused = []

def hook(event, arguments):
    if event == "compile":
        refused.append(arguments)
        raise ValueError("no code may be compiled")

sys.addaudithook(hook)
window = _core.Window()
window.begin()
for _ in range(1000):
    time.sleep(1e-5)
raw = window.end()
assert refused
assert raw["blame_method"] == "none", raw
assert "could not be run" in raw["blame_reason"], raw
""")


@case(usual=3, nightly=200)
def in_children_forked_before(count: int) -> None:
    """Somebody knocks there, though nobody has opened a window or started a knocker before."""
    if METHOD == "disabled":
        not_here("the GIL is off: nobody waits for it")
    for _ in range(count):
        ends_well("""
import os, signal

def child():
    signal.alarm(30)
    sys.setswitchinterval(5e-3)
    knocker = _core.Knocker(100, 10_000_000, 0)
    knocker.start()
    waited = sampled = 0.0
    while sampled < 0.2 or waited < 0.1 * sampled:
        sum(range(100_000))
        waited, sampled = knocker.times()
    knocker.stop()
    window = _core.Window()
    window.begin()
    while window.peek()["knocks"] == 0:
        sum(range(100_000))

pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
""")


@case(usual=2, nightly=200)
def whose_thread_finds_out_about_locks_as_the_interpreter_ends(count: int) -> None:
    """Nothing is measured after that."""
    require_locks()
    for _ in range(count):
        ends_well("""
import os
sched_yield = os.sched_yield

def end():
    os.sched_yield = sched_yield
    _core._shutdown()

os.sched_yield = end
windows = [_core.Window(locks=True), _core.Window(locks=True)]
for window in windows:
    window.begin()
assert os.sched_yield is sched_yield
for window in windows:
    told = window.end()["locks"]
    assert told == "the interpreter is ending, or has ended before", told
""")


@case(usual=2, nightly=200)
def children_forked_while_a_thread_finds_out_about_locks(count: int) -> None:
    """The thread is not there in the child, where as many others find out for themselves.

    Nor is there half of what it was importing, as the forks wait for it.
    """
    require_locks()
    for _ in range(count):
        ends_well("""
import os, signal, warnings
warnings.simplefilter("ignore")  # of forks beside threads
told, statuses, forkers = [], [], []
sched_yield = os.sched_yield
readings = []

def measure():
    window = _core.Window(locks=True)
    window.begin()
    readings.append(window.end()["locks"])

def child():
    signal.alarm(20)
    readings.clear()
    in_threads(4, measure)
    return len(readings) == 4 and all(
        isinstance(one, dict) and (sys._is_gil_enabled() or one["places_reason"] is None)
        for one in readings
    )

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if child() else 1)
    statuses.append(os.waitpid(pid, 0)[1])

def let_another_thread_fork(what):
    if threading.current_thread().name == "examiner":
        told.append(what)
        forkers.append(threading.Thread(target=fork))
        forkers[-1].start()
        time.sleep(0.1)

class Finder:
    def find_spec(name, path=None, target=None):
        let_another_thread_fork(name)

def yield_late():
    let_another_thread_fork("sched_yield")
    return sched_yield()

os.sched_yield = yield_late
sys.meta_path.insert(0, Finder)
examiner = threading.Thread(target=measure, name="examiner")
examiner.start()
examiner.join()
for forker in forkers:
    forker.join()
assert "sched_yield" in told, told
assert statuses == [0] * len(told), (told, statuses)
""")


if __name__ == "__main__":
    scripting.main()
