import json
from pathlib import Path

import pytest

from glue_lit.engine.estimates import measured_speeds


@pytest.mark.parametrize(
    "damaged",
    [
        "[]", "{}", "[" * 50_000, '{"metrics": {}, "train_samples_per_second": 9, "model": "m"}',
        '{"metrics": {}, "train_samples_per_second": 0, "model": "m", "task": "cola"}',
        '{"metrics": {}, "train_samples_per_second": NaN, "model": "m", "task": "cola"}',
        '{"metrics": {}, "train_samples_per_second": 1e999, "model": "m", "task": ["cola"]}',
    ],
)  # fmt: skip
def test_a_damaged_record_has_no_speed(damaged: str, tmp_path: Path) -> None:
    for number, content in enumerate(
        (damaged, json.dumps({"metrics": {}, "train_samples_per_second": 9, "model": "m", "task": "rte"}))
    ):
        run = tmp_path / "lightning_logs" / "rte" / f"version_{number}"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text("data: {}\n")
        (run / "metrics.json").write_text(content)
    assert measured_speeds(tmp_path) == {("m", "rte"): 9.0, ("m", ""): 9.0}
