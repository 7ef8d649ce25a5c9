"""Builds the C extension, on Linux and macOS; everything else stands in pyproject.toml."""

import glob
import os
import sysconfig

from setuptools import Extension, setup

# GILKNOCK_SANITIZE=address,undefined (or thread) builds the extension with these sanitizers.
SANITIZE = os.environ.get("GILKNOCK_SANITIZE", "")

compile_args = ["-std=c11", "-O2", "-Wall", "-fvisibility=hidden"]
link_args: list[str] = []
if SANITIZE:
    compile_args += [f"-fsanitize={SANITIZE}", "-g", "-O1", "-fno-omit-frame-pointer"]
    link_args += [f"-fsanitize={SANITIZE}"]

setup(
    ext_modules=[
        Extension(
            "pytest_gilknock._core",
            sources=sorted(glob.glob("src/**/*.c", recursive=True)),
            depends=sorted(glob.glob("src/**/*.h", recursive=True)),
            include_dirs=["src", os.path.join(sysconfig.get_path("include"), "internal")],
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
    ]
)
