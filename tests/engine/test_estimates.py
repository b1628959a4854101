import json
from pathlib import Path

import pytest

from glue_lit.engine.estimates import estimate_memory, measured_speeds


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


def test_memory_follows_from_the_size_of_the_largest_model(tmp_path: Path) -> None:
    gib = 2**30
    for name, sizes in (("small", [1000]), ("large", [10**9, 10**9])):
        (tmp_path / name).mkdir()
        for number, size in enumerate(sizes):
            file = tmp_path / name / ("model.safetensors" if len(sizes) == 1 else f"model-{number}-of-2.safetensors")
            with file.open("wb") as handle:
                handle.truncate(size)
    small, large = ((str(tmp_path / name), "main") for name in ("small", "large"))
    assert gib < estimate_memory([small]) < 1.1 * gib
    assert estimate_memory([small, large]) - gib > 2 * 4 * 10**9  # weights, gradients and two moments, with some room
    assert estimate_memory([small, (str(tmp_path / "missing"), "main")]) > 5 * gib  # whose size is not known
