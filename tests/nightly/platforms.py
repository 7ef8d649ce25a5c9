"""The C core on a C library and a processor that this machine has not: musl, and aarch64.

    python tests/nightly/platforms.py                      # all parts, as root
    python tests/nightly/platforms.py --cpython ARCHIVE    # a CPython's source, for musl-cpython
    python tests/nightly/platforms.py --folder KEPT musl   # these parts, and keep what is made

=================== ===========================================================================
musl                the programs of ``tests/native``, built by ``musl-gcc``
musl-cpython        ``tests/core`` with a CPython that ``musl-gcc`` builds from ``--cpython``
aarch64             the programs of ``tests/native``, built by a cross compiler, run by qemu
aarch64-cpython     ``tests/core`` with Debian's Python for arm64, unpacked by debootstrap, in qemu
=================== ===========================================================================

A part that cannot be had here says what it lacks: the tools are Debian's ``musl-tools``,
``libffi-dev``, ``gcc-aarch64-linux-gnu``, ``qemu-user-static`` and ``debootstrap``. Processes that
an emulated program starts are emulated, too, as a mount namespace has qemu known to the kernel
(``binfmt_misc`` in a user namespace of its own, which needs Linux 6.7; before, the machine's).

Every part ends in a time that is known. What fails for a reason that lies in qemu is listed here
with that reason; anything else that fails, and a part that does not end, returns 1.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from environments import ROOT, run_limited

NO_PROCESS_VM_WRITEV = "qemu has no process_vm_writev"
OWN_THREAD = "it counts the process' threads, and qemu has one of its own"
NO_BARE_CLONE = "qemu has no clone without a signal, which a stall's reader is made by"
DEAR = "too dear or too late under emulation"
LONG_TURNS = "what the loop does between two holds takes some 50 us under emulation, with the GIL"
SHARE_HELD = "test_contention_is_the_share_of_time_the_load_held_the_gil"

# Tests that fail under qemu 7.2, each by the end of its id.
UNDER_QEMU = {
    "test_native[own_memory]": NO_PROCESS_VM_WRITEV,
    "test_native[stall_watch]": NO_BARE_CLONE,
    "test_native[machine_load]": f"looks at the machine are {DEAR}",
    "test_native[thread_birth]": f"hundreds of threads are {DEAR}",
    "test_a_window_of_two_milliseconds_reads_true": f"opening and closing windows is {DEAR}",
    f"{SHARE_HELD}[50us-450us]": LONG_TURNS,
    f"{SHARE_HELD}[0.2ms-2ms]": LONG_TURNS,
    f"{SHARE_HELD}[1ms-1ms]": LONG_TURNS,
    "test_without_knocks_there_is_no_knocking_thread_and_the_sums_stay_exact": OWN_THREAD,
    "test_a_server_beside_a_thread_that_computes_is_a_convoy": (
        "the client starts for twenty seconds and talks for one: no tenth of the window is waited"
    ),
}

MUSL_GCC = "musl-gcc -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu"
TRIPLET = "aarch64-linux-gnu"
CROSS_GCC = f"{TRIPLET}-gcc"
CROSS_LIBRARIES = f"/usr/{TRIPLET}"
DEBIAN = "trixie"
DEBIAN_PACKAGES = "python3,libpython3-dev"

CORE = [
    "-m",
    "pytest",
    "-v",
    "-p",
    "no:cacheprovider",
    "-p",
    "pytest_gilknock.plugin",
    "tests/core",
]

# Runs $2... where the kernel runs aarch64's programs by the qemu $1, in these namespaces alone.
EMULATED = r"""
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && printf '%s' \
    ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:'\
'\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$1:F" \
    >/proc/sys/fs/binfmt_misc/register || echo "qemu as this machine has it, if it has" >&2
shift
exec "$@"
"""
# Runs $3... in the root $1, where /mnt is the folder $2, beside this machine's processes.
IN_ROOT = """
mount --rbind /proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --rbind "$2" "$1/mnt"
root=$1
shift 2
exec chroot "$root" env -C /mnt "$@"
"""


class NotHad(Exception):
    """What a part needs and this machine has not."""


class Outcome(NamedTuple):
    passed: int
    skipped: int
    excused: tuple[str, ...]  # failed for a reason in qemu, which stands there, too
    failed: tuple[str, ...]
    ended: bool
    text: str


def need(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise NotHad(f"no {', no '.join(missing)}")


def step(command: Sequence[str | Path], folder: Path, timeout: float, **more: str) -> str:
    """Run a command that prepares something; return what it printed."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    code, text = run_limited(words, folder, {**os.environ, **more}, timeout)
    if code:
        raise NotHad(f"{words[0]} ... {words[-1]}: {code}: {' '.join(text.split())[-300:]}")
    return text


def judged(run: tuple[int | str, str], excused: Mapping[str, str]) -> Outcome:
    """Read the lines of ``pytest -v``, which are there up to where a run was cut off."""
    code, text = run
    results = re.findall(
        r"^(tests/\S+?::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", text, flags=re.MULTILINE
    )
    bad = sorted({test for test, result in results if result in ("FAILED", "ERROR")})
    reasons = {test: why for test in bad for end, why in excused.items() if test.endswith(end)}
    outcomes = [result for _, result in results]
    return Outcome(
        outcomes.count("PASSED"),
        outcomes.count("SKIPPED"),
        tuple(f"{test}: {why}" for test, why in reasons.items()),
        tuple(test for test in bad if test not in reasons),
        code in (0, 1) and "PASSED" in outcomes,
        text,
    )


def native(
    folder: Path,
    compiler: str,
    through: Sequence[str | Path] = (),
    excused: Mapping[str, str] = MappingProxyType({}),
    **more: str,
) -> Outcome:
    """Have this Python's pytest build and run ``tests/native`` with another compiler."""
    words = compiler.split()
    environment = {**os.environ, "CC": words[0], "CFLAGS": " ".join(words[1:]), **more}
    pytest = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"]
    # Sanitizers have no libraries for musl, and none that qemu can run.
    programs = ["tests/native/test_native.py", "-k", "not address and not thread]"]
    command = [*through, *pytest, *programs]
    return judged(run_limited(command, tree(folder), environment, 1500), excused)


def tree(folder: Path) -> Path:
    """Make a copy of this tree, without what is built in it."""
    copy = folder / "tree"
    shutil.rmtree(copy, ignore_errors=True)
    without = shutil.ignore_patterns("*.so", "__pycache__", "build", "*.egg-info", ".*", "_build")
    shutil.copytree(ROOT, copy, ignore=without)
    return copy


def tree_with_core(compiler: str, flags: Sequence[str], suffix: str, folder: Path) -> Path:
    """Make a copy of this tree with the extension built in it, and with pytest, in ``site``."""
    copy = tree(folder)
    common = "-std=c11 -O2 -g0 -Wall -fvisibility=hidden -fPIC -shared -pthread -Isrc"
    sources = sorted(copy.joinpath("src").rglob("*.c"))
    extension = copy / "pytest_gilknock" / f"_core{suffix}"
    step([*compiler.split(), *common.split(), *flags, *sources, "-o", extension], copy, 600)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", "site", "pytest"]
    step(pip, copy, 300)
    return copy


def musl(folder: Path, _: argparse.Namespace) -> Outcome:
    need("musl-gcc")
    return native(folder, MUSL_GCC)


def musl_cpython(folder: Path, options: argparse.Namespace) -> Outcome:
    need("musl-gcc", "make")
    installed = folder / "installed"
    python = installed / "bin" / "python3"
    if not python.exists():
        build_cpython(folder, options.cpython, installed)
    ask = "import sysconfig as s; print(s.get_path('include'), s.get_config_var('EXT_SUFFIX'))"
    include, suffix = step([python, "-c", ask], folder, 60).split()
    copy = tree_with_core(MUSL_GCC, [f"-I{include}", f"-I{include}/internal"], suffix, folder)
    environment = {**os.environ, "PYTHONPATH": f"{copy}:{copy / 'site'}"}
    environment["LD_LIBRARY_PATH"] = ":".join(map(str, Path("/usr/lib").glob("*-linux-gnu")))
    return judged(run_limited([python, *CORE], copy, environment, 900), {})


def build_cpython(folder: Path, archive: Path | None, installed: Path) -> None:
    if archive is None:
        raise NotHad("no source of a CPython: --cpython names its archive")
    unpacked = folder / "source"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as files:
        files.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    compiler = folder / "musl-cc"
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --print-multiarch ] && { echo x86_64-linux-musl; exit; }\n'
        f'exec {MUSL_GCC} "$@"\n'
    )
    compiler.chmod(0o755)
    # Modules that need libraries are left out: Debian has none for musl.
    configure = f"./configure -q CC={compiler} --prefix={installed} --without-ensurepip"
    configure += " --disable-test-modules py_cv_module__ctypes=n/a"
    step(configure.split(), source, 900, PKG_CONFIG="/bin/false")
    step(["make", "-s", f"-j{os.cpu_count()}"], source, 3000)
    step(["make", "-s", "install"], source, 900)
    add_ctypes(source, compiler, installed)


def add_ctypes(source: Path, compiler: Path, installed: Path) -> None:
    """Build ``_ctypes``, which the tests' loads are made of, with this machine's libffi.

    musl takes the C library that libffi asks for as itself; one function has another name there.
    """
    (libffi, *_) = [*Path("/usr/lib").glob("*/libffi.so"), None]
    if libffi is None:
        raise NotHad("no libffi.so: libffi-dev")
    renamed = source / "getdelim.c"
    renamed.write_text(
        "#define _GNU_SOURCE\n#include <stdio.h>\n"
        "ssize_t __getdelim(char **line, size_t *size, int end, FILE *file) {\n"
        "    return getdelim(line, size, end, file);\n}\n"
    )
    parts = ("_ctypes", "callbacks", "callproc", "stgdict", "cfield")
    sources = [f"Modules/_ctypes/{part}.c" for part in parts]
    flags = "-shared -fPIC -O1 -IInclude -IInclude/internal -I. -DPy_BUILD_CORE_MODULE"
    has = [f"-DHAVE_FFI_{what}=1" for what in ("PREP_CIF_VAR", "PREP_CLOSURE_LOC", "CLOSURE_ALLOC")]
    (modules,) = installed.glob("lib/python3.*/lib-dynload")
    name = next(modules.glob("_struct.*")).name.replace("_struct", "_ctypes")
    step(
        [compiler, *flags.split(), *has, *sources, renamed, libffi, "-o", modules / name],
        source,
        300,
    )


def emulated(*command: str | Path) -> list[str | Path]:
    """A command that runs programs of aarch64, whatever starts them."""
    need("unshare")
    names = ("qemu-aarch64-static", "qemu-aarch64")
    qemu = next(filter(None, map(shutil.which, names)), None)
    if qemu is None:
        raise NotHad(f"no {names[0]}")
    namespaces = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    return [*namespaces, EMULATED, "sh", qemu, *command]


def aarch64(folder: Path, _: argparse.Namespace) -> Outcome:
    need(CROSS_GCC)
    return native(folder, CROSS_GCC, emulated(), UNDER_QEMU, QEMU_LD_PREFIX=CROSS_LIBRARIES)


def aarch64_cpython(folder: Path, _: argparse.Namespace) -> Outcome:
    need(CROSS_GCC)
    root = folder / "root"
    if not (root / "ready").exists():
        unpack_debian(root)
    (include,) = root.glob("usr/include/python3.*")
    suffix = f".cpython-{include.name.removeprefix('python').replace('.', '')}-{TRIPLET}.so"
    # Debian's pyconfig.h includes that of the processor by its path in usr/include.
    headers = [f"-I{include}", f"-I{include}/internal", "-idirafter", f"{root}/usr/include"]
    copy = tree_with_core(CROSS_GCC, headers, suffix, folder)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    environment["PYTHONPATH"] = "/mnt:/mnt/site"
    inside = ["sh", "-ec", IN_ROOT, "sh", root, copy]
    step(emulated(*inside, "python3", "-c", "pass"), folder, 120)
    command = emulated(*inside, "python3", *CORE)
    return judged(run_limited(command, folder, environment, 2400), UNDER_QEMU)


def unpack_debian(root: Path) -> None:
    """Unpack Debian's packages for arm64. None is configured, so nothing has to run for it."""
    need("debootstrap", "apt-get", "dpkg-deb")
    if os.geteuid() != 0:
        raise NotHad("debootstrap wants to be root")
    shutil.rmtree(root, ignore_errors=True)
    sites = step(["apt-get", "indextargets", "--format", "$(SITE)"], root.parent, 60)
    mirror = next((site for site in sites.split() if site.rstrip("/").endswith("/debian")), "")
    options = f"--arch=arm64 --foreign --variant=minbase --include={DEBIAN_PACKAGES}"
    command = ["debootstrap", *options.split(), DEBIAN, root, *filter(None, [mirror])]
    step(command, root.parent, 1200)
    unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink'
    for package in sorted(root.glob("var/cache/apt/archives/*.deb")):
        step(["sh", "-ec", unpack, "sh", package], root, 300)
    for folder in (root / name for name in ("proc", "dev", "tmp", "mnt")):
        if folder.is_symlink():  # debootstrap makes links to the machine's own
            folder.unlink()
        folder.mkdir(exist_ok=True)
    (root / "ready").touch()


PARTS: dict[str, Callable[[Path, argparse.Namespace], Outcome]] = {
    "musl": musl,
    "musl-cpython": musl_cpython,
    "aarch64": aarch64,
    "aarch64-cpython": aarch64_cpython,
}


def report(name: str, outcome: Outcome, seconds: float) -> bool:
    """Print what a part came to; return whether it is as it should be."""
    counts = f"{outcome.passed} passed, {outcome.skipped} skipped, {len(outcome.failed)} failed"
    print(f"{name}: {counts}, {len(outcome.excused)} excused, {seconds:.0f} s")
    for line in outcome.excused:
        print(f"    {line}")
    for line in outcome.failed:
        print(f"    FAILED {line}")
    if not outcome.ended:
        print("    " + "\n    ".join(outcome.text.splitlines()[-15:]))
    return outcome.ended and not outcome.failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []])
    parser.add_argument("--folder", type=Path, help="keep what is made there")
    parser.add_argument("--cpython", type=Path, help="the archive of CPython's source")
    options = parser.parse_args()
    bad = []
    with tempfile.TemporaryDirectory(prefix="gilknock-") as temporary:
        for name in options.parts or PARTS:
            place = (options.folder or Path(temporary)).resolve() / name
            place.mkdir(parents=True, exist_ok=True)
            start = time.monotonic()
            try:
                outcome = PARTS[name](place, options)
            except NotHad as reason:
                print(f"{name}: not had: {reason}", flush=True)
                continue
            (place / "output.txt").write_text(outcome.text, "utf-8")
            if not report(name, outcome, time.monotonic() - start):
                bad.append(name)
            sys.stdout.flush()
    print(f"to be looked at: {', '.join(bad) or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
