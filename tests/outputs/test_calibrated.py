import json
from pathlib import Path

import pytest

from glue_lit.outputs.calibrated import rescale_probabilities


def test_line_separators_in_labels_do_not_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lines = [{"idx": n, "label": "a\u2028b\x85", "probabilities": {"a\u2028b\x85": 0.8, "c": 0.2}} for n in range(2)]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    rescale_probabilities(path, 1e9)
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert [row["probabilities"]["c"] for row in found] == [pytest.approx(0.5)] * 2
