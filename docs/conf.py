"""Settings of the documentation site: ``nox -s docs`` builds it, every warning an error."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "pytest-gilknock"
version = release = version_of("pytest-gilknock")
copyright = "the authors of pytest-gilknock"

extensions = ["myst_parser", "sphinx.ext.autodoc", "gilknock_reference"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"pytest-gilknock {release}"
html_show_sourcelink = False
smartquotes = False  # "--" is an option here
highlight_language = "text"  # a block without a language is what a program printed

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

# What signatures and docstrings name and this site does not describe: it is built without a
# network, and so without the inventories of other sites.
nitpick_ignore_regex = [
    ("py:class", "AskedMethod|BlameMethod|LockKind|Method|Self|Stack|Raw[A-Z][A-Za-z]*"),
    ("py:class", r"(collections\.abc|threading|types|typing)\.[A-Za-z]+"),
    ("py:class", "SupportsIndex|TracebackType"),
    ("py:func", r"threading\.get_native_id"),
]
