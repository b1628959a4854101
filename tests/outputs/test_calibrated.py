import json
from pathlib import Path

import numpy as np
import pytest

from glue_lit.evaluation.calibration import measure_calibration
from glue_lit.outputs.calibrated import rescale_probabilities


def test_line_separators_in_labels_do_not_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lines = [{"idx": n, "label": "a\u2028b\x85", "probabilities": {"a\u2028b\x85": 0.8, "c": 0.2}} for n in range(2)]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    rescale_probabilities(path, 1e9)
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert [row["probabilities"]["c"] for row in found] == [pytest.approx(0.5)] * 2


def test_a_temperature_that_makes_labelled_rows_worse_says_so(tmp_path: Path) -> None:
    path, draw = tmp_path / "p.jsonl", np.random.default_rng(0)
    right = draw.random(400)  # the probability of the label a, which is a's share of the gold labels: well calibrated
    lines = [
        {"idx": n, "label": "ab"[p < 0.5], "probabilities": {"a": p, "b": 1 - p}, "gold": "ab"[draw.random() > p]}
        for n, p in enumerate(right.tolist())
    ]
    unlabelled = {key: value for key, value in lines[0].items() if key != "gold"} | {"idx": 400}
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, unlabelled]))
    effect = rescale_probabilities(path, 0.2)
    assert effect is not None
    gold = np.array([line["gold"] == "b" for line in lines], dtype=np.int64)
    logits = np.log(np.stack([right, 1 - right], axis=1))
    assert effect == measure_calibration(logits, gold, 0.2)
    assert effect.rows == 400
    assert effect.ece_before < 0.06 < 0.15 < effect.ece_after
    figures = f"{effect.ece_before:.4f} before, {effect.ece_after:.4f} after, which is worse: leave --calibrate out"
    assert str(effect).endswith(figures)
    better = measure_calibration(logits / 0.2, gold, 5.0)
    assert "worse" not in str(better)
    assert "worse" not in str(measure_calibration(logits, gold, 1.0))
