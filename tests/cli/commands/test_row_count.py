"""The counter of rows that are done."""

import pytest

from glue_lit.cli.commands import row_count


@pytest.mark.parametrize(
    ("hidden", "every", "said"), [(False, 0.0, "4,096 rows so far\n"), (False, 1e9, ""), (True, 0.0, "")]
)
def test_without_a_terminal_lines_count_the_rows(
    hidden: bool, every: float, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(row_count, "_EVERY", every)
    with row_count.row_count(hidden) as advance:
        advance(4096)
    assert capsys.readouterr() == ("", said)
