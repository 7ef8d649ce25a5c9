"""Builds the C extension, on Linux and macOS; everything else stands in pyproject.toml."""

import glob
import os
import re
import shlex
import shutil
import sys
import sysconfig

BUILDING = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"}


def what_is_missing() -> str | None:
    """Say in one sentence why the extension cannot be built here; None where it can."""
    if sys.platform not in ("linux", "darwin"):
        return f"it runs on Linux and macOS, and this is {sys.platform}"
    if sys.implementation.name != "cpython":
        return f"it measures the GIL of CPython, and this is {sys.implementation.name}"
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(shlex.split(compiler)[0]) is None:
        return (
            f"it needs a C compiler, and there is no {compiler!r}; install one, as with"
            " 'apt install gcc libc6-dev' or 'xcode-select --install', or name yours in CC"
        )
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        return (
            f"it needs Python's headers, as of 'apt install python3-dev', and {header} is not there"
        )
    return None


def readme_for_an_index() -> str:
    """Return the README without what links to the files beside it, which an index has not."""
    with open("README.md", encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"^!\[[^]]*\]\((?!https:)[^)]*\)\n\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^]]+)\]\((?!https:)[^)]*\)", r"\1", text)


# Before setuptools says anything, so that pip shows this sentence alone.
if BUILDING.intersection(sys.argv) and (missing := what_is_missing()):
    raise SystemExit(f"pytest-gilknock cannot be built: {missing}.")

from setuptools import Extension, setup  # noqa: E402

# GILKNOCK_SANITIZE=address,undefined (or thread) builds the extension with these sanitizers.
SANITIZE = os.environ.get("GILKNOCK_SANITIZE", "")

compile_args = ["-std=c11", "-O2", "-Wall", "-fvisibility=hidden"]
link_args: list[str] = []
if SANITIZE:
    compile_args += [f"-fsanitize={SANITIZE}", "-g", "-O1", "-fno-omit-frame-pointer"]
    link_args += [f"-fsanitize={SANITIZE}"]
elif "-g" not in os.environ.get("CFLAGS", "").split():
    compile_args += ["-g0"]  # many a Python asks for debug info: four times the size of the code
    # Nor are there names of functions that only this extension's own parts call.
    link_args += ["-Wl,-x" if sys.platform == "darwin" else "-Wl,-s"]

setup(
    long_description=readme_for_an_index(),
    long_description_content_type="text/markdown",
    ext_modules=[
        Extension(
            "pytest_gilknock._core",
            sources=sorted(glob.glob("src/**/*.c", recursive=True)),
            depends=sorted(glob.glob("src/**/*.h", recursive=True)),
            include_dirs=["src", os.path.join(sysconfig.get_path("include"), "internal")],
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
    ],
)
