from pytest_gilknock import _core  # noqa: F401 - stays loaded when an inner run ends

pytest_plugins = ["pytester"]
