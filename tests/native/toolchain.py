"""The compiler, and what it can do here."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

COMPILER = shlex.split(os.environ.get("CC", "cc")) + shlex.split(os.environ.get("CFLAGS", ""))

PLAIN = ""
ADDRESS = "address,undefined"
THREAD = "thread"


def sanitizer_flags(build: str) -> list[str]:
    return [f"-fsanitize={build}", "-fno-sanitize-recover=all"] if build else []


def why_no_program(text: str, flags: list[str]) -> str | None:
    """Why this program cannot be built and run; None when it can."""
    with tempfile.TemporaryDirectory() as directory:
        source, output = Path(directory, "probe.c"), Path(directory, "probe")
        source.write_text(text)
        command = [*COMPILER, *flags, str(source), "-o", str(output)]
        for step in (command, [str(output)]):
            done = subprocess.run(step, capture_output=True, text=True, timeout=120)
            if done.returncode != 0:
                return (done.stderr.strip() or "no message").splitlines()[-1]
    return None


@functools.cache
def why_not(build: str) -> str | None:
    """Why no program can be built and run this way; None when it can."""
    return why_no_program("int main(void) { return 0; }\n", sanitizer_flags(build))


def has_function(name: str) -> bool:
    """Whether the C library has this function, by its symbol alone."""
    text = (
        f"char {name}(void);\nstatic char (*volatile function)(void) = {name};\n"
        "int main(void) { return function == 0; }\n"
    )
    return why_no_program(text, ["-fno-builtin", "-pthread"]) is None


def runtime_library(name: str) -> Path | None:
    """Where gcc keeps the library of a sanitizer; None where there is none."""
    command = [*COMPILER, f"-print-file-name={name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    path = Path(done.stdout.strip())
    return path.resolve() if path.is_absolute() else None
