"""Stacks that are hard to read: each frame that is told of is one that was there."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import struct
import sys
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any

import scripting
from loads import in_background, in_threads, let_go, use_smallest_stacks
from scripting import METHOD, case, checked, not_here, opened

from pytest_gilknock import _core

keep_gil = ctypes.PyDLL(None).usleep
HERE = os.path.basename(__file__)


def looked_at(work: Callable[[], object], *, rounds: int = 20) -> Any:
    """Have three threads do something, in the way of each other; return the reading."""
    if METHOD != "exact":
        not_here("nobody looks here")

    def run() -> None:
        for _ in range(rounds):
            work()
            let_go(0)

    window = opened()
    in_threads(3, run)
    return checked(window.end())


def names(raw: Any) -> set[tuple[str, str]]:
    """The files and functions of all frames."""
    stacks = [row[0] for row in (*raw["blame"], *raw["victims"])]
    return {(os.path.basename(frame[0]), frame[2]) for stack in stacks for frame in stack}


# --- frames ---


class Derived(str):
    """Code may have such names."""


@case(usual=20, nightly=200)
def names_of_classes_derived_from_str(count: int) -> None:
    """Neither such a frame nor those around it are lost."""

    def innermost() -> None:
        keep_gil(1000)

    def outermost() -> None:
        innermost()

    for function in innermost, outermost:
        code = function.__code__
        options = {"co_filename": Derived("/derived.py"), "co_name": Derived(code.co_name)}
        if sys.version_info >= (3, 11):
            options["co_qualname"] = Derived(code.co_name)
        function.__code__ = code.replace(**options)  # type: ignore[arg-type]
    raw = looked_at(outermost, rounds=count)
    told = names(raw)
    assert {("derived.py", "innermost"), ("derived.py", "outermost")} <= told, told
    assert (HERE, "run") in {(file, name.rpartition(".")[2]) for file, name in told}, told
    unlooked = sum(row[3] for row in raw["blame"] if not row[0])
    assert unlooked < 0.2 * raw["wait"], raw


class Made:
    def __init__(self) -> None:
        keep_gil(500)


def make() -> None:
    for _ in range(3):
        Made()


@case(usual=30, nightly=2000)
def objects_being_made(count: int) -> None:
    """Below an __init__() that was called without C code between lies a frame of Python's own."""
    told = names(looked_at(make, rounds=count))
    assert any(function.endswith("__init__") for _, function in told), told
    assert not {file for file, _ in told if not file.endswith((".py", ">")) and file}, told


def memory() -> Callable[[int, int], tuple[int, ...]]:
    """Return a function that reads words of this process, whatever lies there; () if nothing."""
    file = os.open("/proc/self/mem", os.O_RDONLY)

    def words(at: int, count: int) -> tuple[int, ...]:
        try:
            read = os.pread(file, 8 * count, at)
        except (OSError, OverflowError):
            return ()
        return struct.unpack(f"{len(read) // 8}Q", read[: len(read) // 8 * 8])

    return words


def is_frame(words: Iterable[int], code: CodeType) -> bool:
    """Whether a frame of this file that runs the code may begin with these words.

    Memory that was given back may hold the code, too, and a pointer of its allocator's where a
    frame has its caller's; but not the globals as well.
    """
    return {id(code), id(globals())} <= {word & ~3 for word in words}


def where_caller_is_kept() -> int:
    """The address at which the frame of the calling function keeps its caller's."""
    words = memory()
    here, caller = sys._getframe(1).f_code, sys._getframe(2).f_code
    get_state = ctypes.pythonapi.PyThreadState_Get
    get_state.restype = ctypes.c_void_p
    pointers = words(get_state() or 0, 40)
    for _ in range(4):  # some frames up, and through 3.11's struct between
        pointers = tuple(
            {word for at in pointers if at % 8 == 0 and at > 4096 for word in words(at, 10)}
        )
        for frame in pointers:
            found = words(frame, 10) if frame % 8 == 0 and frame > 4096 else ()
            if is_frame(found[:6], here):
                for i, at in enumerate(found):
                    if at % 8 == 0 and at > 4096 and is_frame(words(at, 6), caller):
                        return frame + 8 * i
    return not_here("where a frame keeps its caller's is not found")


def keep_gil_with_caller(wrong: int) -> None:
    """Keep the GIL while this function's frame names another as its caller's."""
    previous = ctypes.c_uint64.from_address(where_caller_is_kept())
    before = previous.value
    previous.value = wrong
    keep_gil(2000)
    sum(range(3000))
    previous.value = before


@case(usual=10, nightly=500)
def callers_that_lie_nowhere(count: int) -> None:
    """Memory that is used anew may hold any number where a frame had a pointer."""
    if METHOD != "exact" or sys.version_info < (3, 11):
        not_here("nobody looks here, or frames are objects")
    end = 1 << 64
    wrong = [end - 8, end - 96, end - 4096, 1 << 63, 1 << 47, 8, 4096, 4088, 24]
    in_background(2, lambda: (sum(range(100)), let_go(1e-5)))
    sys.setswitchinterval(1e-4)  # it is let go meanwhile, too, and this thread looks at itself
    for _ in range(count):
        window = opened()
        for each in wrong:
            let_go(1e-3)
            keep_gil_with_caller(each)
        checked(window.end())


# --- code ---


def function_in(file: str) -> CodeType:
    """Return the code of a function, small enough for the allocator of small objects."""
    made: dict[str, Any] = {}
    exec(compile("def of_little_code(): pass", file, "exec"), made)
    code: CodeType = made.pop("of_little_code").__code__
    return code


def where_code_is_kept(size: int) -> tuple[ctypes.c_uint64, ctypes.c_uint64]:
    """Return where the frame of the calling function keeps its code, and the instruction it is at.

    ``size``: how much of a code object lies before its instructions.
    """
    frame = ctypes.c_uint64.from_address(where_caller_is_kept()).value
    here = sys._getframe(1).f_code
    words = memory()(frame, 10)
    instructions = range(id(here) + size, id(here) + size + len(here.co_code))
    code = next(i for i, word in enumerate(words) if word & ~3 == id(here))
    instruction = next(i for i, word in enumerate(words) if word in instructions)
    return ctypes.c_uint64.from_address(frame + 8 * code), ctypes.c_uint64.from_address(
        frame + 8 * instruction
    )


def keep_gil_called_from(
    code: ctypes.c_uint64, instruction: ctypes.c_uint64, at: int, size: int
) -> None:
    """Keep the GIL while a calling function's frame says that it runs the code at an address."""
    before = code.value, instruction.value
    code.value, instruction.value = at | code.value & 3, at + size + 2
    keep_gil(2000)
    code.value, instruction.value = before


@case(usual=10, nightly=300)
def code_that_is_gone(count: int) -> None:
    """Memory that was given back keeps the type of what lay there, and pointers to its names."""
    if METHOD != "exact" or sys.version_info < (3, 11):
        not_here("nobody looks here, or frames are objects")
    gc.disable()  # it may walk the frames
    in_background(2, lambda: (sum(range(100)), let_go(1e-5)))
    size = CodeType.__basicsize__
    kept = where_code_is_kept(size)
    there = function_in("there.py")
    told: set[tuple[str, str]] = set()
    for _ in range(count):
        codes = [function_in("gone.py") for _ in range(50)]
        gone = id(codes[-5])  # a list frees its last first: others are used anew before this one
        was_there = weakref.ref(codes[-5])
        window = opened()
        let_go(1e-3)
        keep_gil_called_from(*kept, id(there), size)
        let_go(1e-3)
        del codes
        if was_there() is not None:
            not_here("code lives until it is collected")
        keep_gil_called_from(*kept, gone, size)
        told |= names(checked(window.end()))
    assert ("there.py", "of_little_code") in told, told
    assert "gone.py" not in {file for file, _ in told}, told


def odd() -> None:
    keep_gil(1000)


@case(usual=5, nightly=200)
def tables_of_lines_made_by_the_program(count: int) -> None:
    """Where they tell no line, or none that can be, the stack is known all the same."""
    tables = [b"", b"\x80", b"\xff", bytes(range(128, 160)), bytes(60), b"\xf0\x7e" + b"\x7f" * 40]
    variants = [odd.__code__.replace(co_linetable=table) for table in tables]
    variants += [odd.__code__.replace(co_firstlineno=line) for line in (1, 2**31 - 1)]
    # Four times 2**28 lines on, for two bytes of code each: more than there can be.
    far_on = b"\xf0\x40\x40\x40\x40\x60\x00\x00\x00" * 4 * len(odd.__code__.co_code)
    variants += [odd.__code__.replace(co_linetable=far_on)]
    variants += [odd.__code__.replace(co_filename="\ud800" * 5000, co_name="ö" * 5000)]
    for _ in range(count):
        for code in variants:
            for _ in range(3):  # on a busy machine looks come late
                raw = looked_at(FunctionType(code, globals()))
                held = raw["wait"] - raw["hand_over"]
                if raw["unlooked"] < 0.5 * held:
                    break
            assert raw["unlooked"] < 0.5 * held, (code.co_linetable, raw)


@case(usual=1, nightly=1)
def more_functions_than_there_is_room_for(count: int) -> None:
    """A reading says why nobody saw where the GIL was held: 32 MiB of texts are kept."""
    table = odd.__code__.co_linetable
    of_1_mib = [table + bytes([n]) * ((1 << 20) - len(table)) for n in range(33)]
    raws = [
        looked_at(FunctionType(odd.__code__.replace(co_linetable=one), globals()))
        for one in of_1_mib
    ]
    assert {raw["unlooked_reason"] for raw in raws[:31]} == {None}, raws
    assert "no room for more functions" in raws[-1]["unlooked_reason"], raws[-1]
    assert raws[-1]["unlooked"] > 0.0, raws[-1]


@case(usual=5, nightly=100)
def tables_of_lines_that_are_large(count: int) -> None:
    """Their first MiB is read, and their functions have names."""
    table = odd.__code__.co_linetable
    large = FunctionType(
        odd.__code__.replace(co_linetable=table + bytes(5 << 20), co_name="large"), globals()
    )
    for _ in range(count):
        raw = looked_at(large)
        told = {(line, name) for row in raw["blame"] for _, line, name, _ in row[0][:1]}
        assert odd.__code__.co_firstlineno + 1 in {line for line, _ in told}, told


def one_line_on() -> None:
    keep_gil(1000)


def two_lines_on() -> None:
    # Not the line that runs.
    keep_gil(1000)


def near_the_end_of_a_page(table: bytes) -> bytes:
    """A copy of a table of lines, of which the page where it begins has no more than the header."""
    header = sys.getsizeof(b"") - 1
    kept = []
    for _ in range(100_000):
        kept.append(b"".join((table[:1], table[1:])))
        if 4096 - id(kept[-1]) % 4096 <= header:
            return kept[-1]
    return not_here("no memory is to be had there")


@case(usual=3, nightly=100)
def tables_of_lines_made_anew_in_their_places(count: int) -> None:
    """Where code has no version, its table of lines tells it from what was there before."""
    if sys.version_info >= (3, 12):
        not_here("code has a version")
    first, second = one_line_on.__code__, two_lines_on.__code__
    assert len(first.co_linetable) == len(second.co_linetable)
    assert first.co_code == second.co_code
    place = near_the_end_of_a_page(first.co_linetable)
    work = FunctionType(first.replace(co_linetable=place), globals())
    for _ in range(count):
        for code, lines in (first, 1), (second, 2):
            table = code.co_linetable
            ctypes.memmove(id(place) + sys.getsizeof(b"") - 1, table, len(table))
            raw = looked_at(work)
            told = {
                line - first.co_firstlineno
                for row in raw["blame"]
                for _, line, function, *_ in row[0]
                if function == work.__name__
            }
            assert told - {0} == {lines}, (told, lines)  # 0: at "def", as the call begins


# --- what is called ---


class Heavy:
    """Takes long to be let go of."""

    def __init__(self) -> None:
        self.parts = [bytearray(10) for _ in range(3000)]


def keep(*values: object) -> None:
    pass


def lets_go_in_str() -> None:
    compress = zlib.compress
    keep(str(Heavy()), compress)


def lets_go_in_tuple() -> None:
    compress = zlib.compress
    keep(len(Heavy().parts), compress)


def lets_go_in_type() -> None:
    compress = zlib.compress
    keep(type(Heavy()), compress)


def lets_go_in_isinstance() -> None:
    compress = zlib.compress
    keep(compress, isinstance(Heavy(), int))


def callees(raw: Any) -> set[str]:
    """What innermost frames were calling while they held the GIL."""
    return {row[0][0][3] for row in raw["blame"] if row[0]} - {None}


@case(usual=300, nightly=20_000)
def arguments_being_dropped(count: int) -> None:
    """What a function only has at hand, or has yet to call, is not what it calls."""
    work = (lets_go_in_str, lets_go_in_tuple, lets_go_in_type, lets_go_in_isinstance)
    called = callees(looked_at(lambda: [each() for each in work], rounds=count))
    assert called or sys.version_info < (3, 14)
    assert "zlib.compress" not in called, called


HEAVY: list[Heavy] = []


def takes_heavy() -> None:
    id(HEAVY.pop())


@case(usual=100, nightly=5000)
def the_last_argument_being_dropped(count: int) -> None:
    """A call that is over is not what takes the time."""
    HEAVY.extend(Heavy() for _ in range(3 * count))
    assert "id" not in callees(looked_at(takes_heavy, rounds=count))


# More than a name in a stack may have.
OfLongName = type("L" * 200, (list,), {})
MANY = [-i * i % 10_007 for i in range(20_000)]


def sorts() -> None:
    sort = OfLongName(MANY).sort
    sort()


@case(usual=30, nightly=3000)
def methods_of_types_with_long_names(count: int) -> None:
    """A method goes by its own name where that of its object's type is too long for it."""
    called = callees(looked_at(sorts, rounds=count))
    assert ("sort" in called) == (sys.version_info >= (3, 14)), called


# --- threads ---


@case(usual=2, nightly=100)
def threads_with_the_smallest_stacks(count: int) -> None:
    """A look takes some of the stack of the thread that waits."""
    use_smallest_stacks()
    for _ in range(count):
        window = opened()
        in_threads(4, lambda: [sum(range(50)) for _ in range(20_000)])
        checked(window.end())


@case(usual=1, nightly=1)
def windows_opened_at_the_very_end(count: int) -> None:
    """After the core's own part of the interpreter's end, nothing is watched any more."""
    del count
    method = _core.status()[0]
    over = threading.Event()

    def work() -> None:
        if over.is_set():
            sys.exit()
        sum(range(100))

    in_background(6, work)
    kept = [opened()]

    def end_threads() -> None:
        over.set()
        for thread in threading.enumerate():
            if thread.daemon:
                thread.join()

    def late() -> None:
        kept.append(opened())
        time.sleep(0.01)
        raw = checked(kept[-1].peek())
        assert raw["method"] == ("sampled" if method == "exact" else method), raw
        if method == "exact":
            assert raw["reason"] == "the interpreter is ending", raw
            try:
                opened(method="exact")
            except RuntimeError:
                return
            os._exit(1)  # what is raised here is only printed

    # Last registered, first called: this one comes after the core's.
    shutdown = _core._shutdown  # type: ignore[attr-defined]
    atexit.unregister(shutdown)
    if sys.version_info < (3, 11):
        # A thread that gives up waiting for the GIL as the interpreter ends takes back its request
        # to drop it (take_gil() in Python/ceval_gil.h). The state that this is kept in may be freed
        # by then: it is static since 3.11.
        atexit.register(end_threads)
    atexit.register(late)
    atexit.register(shutdown)


if __name__ == "__main__":
    scripting.main()
