"""Builds the C files that need no Python, each alone with its test program, and runs them."""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from toolchain import ADDRESS, COMPILER, PLAIN, THREAD, has_function, sanitizer_flags, why_not

HERE = Path(__file__).parent
SRC = HERE.parent.parent / "src"
NATIVE = SRC / "native"

FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-g", "-pthread", f"-I{SRC}"]

POSITION_DEPENDENT = ("-fno-pie", "-no-pie")

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="the test programs use POSIX threads"),
    pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason=f"no compiler {COMPILER[0]!r}"),
]


@dataclass(frozen=True)
class Program:
    """One build of one test program."""

    test: str  # NAME of tests/native/NAME_test.c
    sources: str  # files of src/native it is linked with
    flags: tuple[str, ...] = ()
    target: tuple[str, ...] | None = None  # flags to make the library
    library: str = "interpose_target"  # file of tests/native: the object whose calls are redirected
    helpers: str = ""  # further files of tests/native
    arguments: tuple[str, ...] = ()
    builds: tuple[str, ...] = (PLAIN, ADDRESS)
    variant: str = ""
    linux_only: bool = False
    calls: str = ""  # a function that not every C library has

    def id(self, build: str) -> str:
        return " ".join(filter(None, (self.test, self.variant, build)))


def interpose(variant: str, protection: str, **how: tuple[str, ...]) -> Program:
    """Redirects an object built in one way, and what its slots' pages are then."""
    target, flags = how.get("target"), how.get("flags", ())
    return Program(
        "interpose",
        "interpose elf_object",
        flags=flags if target is None else ("-DTARGET_IS_SHARED",),
        target=target,
        helpers="interpose_target" if target is None else "",
        arguments=(protection,),
        # clang's address sanitizer puts a pthread_mutex_lock of its own into the program.
        builds=(PLAIN,) if target is None else (PLAIN, ADDRESS),
        variant=variant,
        linux_only=True,
    )


PROGRAMS = [
    Program("clock", "clock", builds=(PLAIN, ADDRESS, THREAD)),
    Program("clock", "clock", ("-U__linux__",), variant="without counter"),
    Program("histogram", "histogram", builds=(PLAIN, ADDRESS, THREAD)),
    Program("event_ring", "event_ring"),
    Program("ledger", "ledger ledger_slots histogram event_ring", ("-Dmalloc=scarce_malloc",)),
    Program("ledger_model", "ledger ledger_slots histogram event_ring"),
    Program("knock_pacing", "knock_pacing"),
    Program(
        "knocker",
        "knocker clock",
        ("-Dpthread_create=scarce_pthread_create",),
        builds=(PLAIN, ADDRESS, THREAD),
    ),
    Program(
        "stall_watch",
        "stall_watch knocker clock run_delay",
        ("-Dsyscall=denying_syscall",),
        builds=(PLAIN, ADDRESS, THREAD),
        linux_only=True,
    ),
    Program(
        "accounting",
        "accounting accounting_looks accounting_waits accounting_audit accounting_threads"
        " accounting_recording accounting_elsewhere thread_usage thread_birth ledger ledger_slots"
        " charges shares places look_pacing look_votes event_ring interpose elf_object clock"
        " histogram run_delay",
        target=(),
        library="toy_gil",
        helpers="diary",
        builds=(PLAIN, ADDRESS, THREAD),
        linux_only=True,
    ),
    Program("own_memory", "own_memory", linux_only=True),
    Program("run_delay", "run_delay clock", linux_only=True),
    Program("places", "places", ("-Dmalloc=scarce_malloc", "-Dcalloc=scarce_calloc")),
    Program("look_pacing", "look_pacing"),
    Program("look_votes", "look_votes"),
    Program("random", ""),
    Program("shares", "shares"),
    Program("charges", "charges shares", ("-O1",)),
    Program("lock_charges", "lock_charges shares clock"),
    Program("machine_files", "machine_files", linux_only=True),
    Program("machine_load", "machine_load machine_files family_time clock", linux_only=True),
    Program(
        "thread_birth",
        "thread_birth interpose elf_object clock",
        target=(),
        builds=(PLAIN, ADDRESS, THREAD),
        linux_only=True,
    ),
    Program(
        "parking",
        "parking parking_sums parking_places parking_recording parking_threads parking_types"
        " parking_windows parking_elsewhere lock_charges shares look_pacing histogram"
        " thread_birth interpose elf_object clock",
        target=("-I" + str(HERE),),
        library="parking_target",
        builds=(PLAIN, ADDRESS, THREAD),
        linux_only=True,
        calls="sem_clockwait",
    ),
    Program(
        "parking_places",
        "parking parking_sums parking_places parking_recording parking_threads parking_types"
        " parking_windows lock_charges shares look_pacing histogram thread_birth interpose"
        " elf_object clock",
        linux_only=True,
        calls="sem_clockwait",
    ),
    Program("elf_object", "elf_object", target=("-Wl,-z,lazy",), linux_only=True),
    interpose("library lazy", "rw", target=("-Wl,-z,lazy",)),
    interpose("library now", "r", target=("-Wl,-z,now,-z,relro",)),
    interpose("library now norelro", "rw", target=("-Wl,-z,now,-z,norelro",)),
    interpose("library no-plt", "r", target=("-fno-plt", "-Wl,-z,now,-z,relro")),
    interpose("library no-plt lazy", "r", target=("-fno-plt", "-Wl,-z,lazy,-z,relro")),
    interpose("library sysv hash", "rw", target=("-Wl,-z,lazy,--hash-style=sysv",)),
    interpose("program fixed lazy", "rw", flags=(*POSITION_DEPENDENT, "-Wl,-z,lazy")),
    interpose("program fixed now", "r", flags=(*POSITION_DEPENDENT, "-Wl,-z,now,-z,relro")),
    interpose("program pie", "r", flags=("-fPIE", "-pie", "-Wl,-z,now,-z,relro")),
    Program("interpose_refusal", "interpose elf_object", POSITION_DEPENDENT, linux_only=True),
    Program("interpose_elsewhere", "interpose elf_object", ("-U__linux__",)),
]


def compile_program(output: Path, arguments: list[str]) -> None:
    """Fails the test with the compiler's words when it refuses."""
    command = [*COMPILER, *FLAGS, "-o", str(output), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"


@pytest.mark.parametrize(
    ("program", "build"),
    [
        pytest.param(program, build, id=program.id(build))
        for program in PROGRAMS
        for build in program.builds
    ],
)
def test_native(program: Program, build: str, tmp_path: Path) -> None:
    if program.linux_only and not sys.platform.startswith("linux"):
        pytest.skip("calls can be redirected on Linux only")
    if reason := why_not(build):
        pytest.skip(f"{COMPILER[0]} cannot build and run with {build or 'no sanitizer'}: {reason}")
    if program.calls and not has_function(program.calls):
        pytest.skip(f"{COMPILER[0]}'s C library has no {program.calls}")

    files = [HERE / f"{name}.c" for name in (f"{program.test}_test", *program.helpers.split())]
    files += [NATIVE / f"{name}.c" for name in program.sources.split()]
    if program.target is not None:
        library = tmp_path / "libtarget.so"
        source = str(HERE / f"{program.library}.c")
        compile_program(library, ["-shared", "-fPIC", *program.target, source])
        files.append(library)

    executable = tmp_path / program.test
    compile_program(executable, [*sanitizer_flags(build), *program.flags, *map(str, files)])
    command = [str(executable), *program.arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
