"""Warnings of libraries, as the user sees them."""

import logging
import warnings

import pytest

from glue_lit.system.library_warnings import quiet_lightning


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore what `quiet_lightning` sets."""
    monkeypatch.setattr(warnings, "formatwarning", lambda message, _, name, line: f"{name}:{line}: {message}")
    for name in ("lightning.pytorch", "lightning.fabric"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.getLogger(name).level)


def test_a_warning_is_one_line_without_its_place_in_the_library() -> None:
    quiet_lightning()
    shown = warnings.formatwarning(UserWarning("No seed found,\n  seed set to 0"), UserWarning, "/some/seed.py", 44)
    assert shown == "glue-lit: warning: No seed found, seed set to 0\n"


def test_in_debug_mode_a_warning_names_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLUE_LIT_DEBUG", "1")
    quiet_lightning()
    assert "/some/seed.py:44" in warnings.formatwarning(UserWarning("No seed found"), UserWarning, "/some/seed.py", 44)
