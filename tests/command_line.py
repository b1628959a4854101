"""The command in a test's own process."""

import sys

import pytest

from glue_lit.__main__ import main


def glue_lit(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of `glue-lit ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["glue-lit", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
