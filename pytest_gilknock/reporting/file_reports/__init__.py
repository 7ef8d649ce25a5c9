"""The formats of ``--gil-export``: a module for each, named like its format with ``_`` for ``-``.

A new format is a new module here, with one subclass of
:class:`~pytest_gilknock.reporting.file_report.FileReport`; nothing else names it.
"""
