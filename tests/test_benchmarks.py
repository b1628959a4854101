"""The benchmarks' own arithmetic, on figures made up here."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_fit import Fit

from benchmarks import gpu, gpu_child
from benchmarks.batches import batches
from benchmarks.clock import OperatorClock, StepClock
from benchmarks.gpu_page import markdown as gpu_table
from benchmarks.large import large
from benchmarks.speed import PARTS, second_epoch
from benchmarks.speed_page import draw, markdown, rows
from glue_lit.system.library_warnings import filter_warnings


def rounds(**sides: dict[str, list[float]]) -> dict[str, list[dict[str, float]]]:
    return {
        name: [dict(zip(values, each, strict=True)) for each in zip(*values.values(), strict=True)]
        for name, values in sides.items()
    }


@pytest.fixture
def found() -> dict[str, Any]:
    training = {
        "rounds": rounds(
            hf={"samples_per_second": [50.0, 40.0, 60.0], "peak_rss": [2.0**30] * 3},
            ours={"samples_per_second": [100.0, 150.0, 200.0], "peak_rss": [2.0**29] * 3, "outside": [0.1, 0.2, 0.03]},
            peak={"flops_per_second": [1e11, 2e11, 4e11]},
        ),
        "flops_per_sample": 1e8,
    }
    start = {"rounds": rounds(hf={"seconds": [4.0, 6.0, 5.0]}, ours={"seconds": [2.0, 2.5, 3.0]})}
    return {"sst2": training, "start": start}


def test_ratios_are_of_medians_and_above_one_where_we_are_better(found: dict[str, Any]) -> None:
    table = {row["what"]: row for row in rows(found)}
    assert table["SST-2, batch 32: training, samples/s"]["ratio"] == 3.0
    assert table["SST-2, batch 32: peak memory, MiB"]["ratio"] == 2.0
    assert table["command to first step, s"]["ratio"] == 2.0
    # of each round its own peak: 0.1, 0.075, 0.05
    assert table["SST-2, batch 32: share of the bf16 product"]["ratio"] == pytest.approx(0.075)
    assert table["SST-2, batch 32: outside forward, backward, optimizer"]["ratio"] == 0.1


def test_table_and_chart(found: dict[str, Any], tmp_path: Path) -> None:
    lines = markdown(rows(found)).splitlines()
    expected = "| SST-2, batch 32: training, samples/s | 50 (40 to 60) | 150 (100 to 200) | 3.00 x | 2.3 x |"
    assert lines[2] == expected
    assert all(line.count("|") == 6 for line in lines)
    draw(rows(found), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5_000


def test_the_table_is_made_from_the_recorded_measurements() -> None:
    kept = Path(__file__).parents[1] / "benchmarks" / "speed.json"
    record = json.loads(kept.read_text())
    assert set(record["measured"]) == set(PARTS)
    assert record["repeats"] >= 5
    assert json.loads(json.dumps(rows(record["measured"]))) == record["table"]
    results = kept.with_name("RESULTS.md").read_text()
    for line in markdown(record["table"]).splitlines():
        assert line in results


def test_clocks_know_the_parts_of_a_step(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filter_warnings()
    monkeypatch.setenv("BENCHMARK_CLOCK", str(tmp_path / "clock.json"))
    Fit(tmp_path / "steps", tiny_model, StepClock(), max_epochs=2).run()
    found = second_epoch(json.loads((tmp_path / "clock.json").read_text()), rows=1)
    parts = [found[part] for part in ("forward", "backward", "optimizer", "outside")]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(1)
    assert 0 <= found["padding"] < 1

    clock = OperatorClock()
    clock.WARM, clock.PLAIN, clock.CLOCKED = 1, 3, 6  # type: ignore[misc]
    Fit(tmp_path / "operators", tiny_model, clock, max_epochs=1).run()
    found = json.loads((tmp_path / "clock.json").read_text())
    assert found["operators"] > 100
    assert "aten.addmm.default" in found["self_ms"]
    assert found["step_ms"] > 0


@pytest.mark.slow
def test_memory_hardly_grows_with_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes of anonymous memory for each row more; peaks of equal fits differ by up to 40 MiB, 50 bytes a row here."""
    few, many = ([*large(rows, disk=tmp_path)] for rows in (200_000, 1_000_000))
    assert [line["cache"] for line in few[1:]] == ["empty", "full"]
    assert few[0]["megabytes"] > 0
    assert not [*tmp_path.iterdir()]
    more = {
        now["cache"]: 2**20
        * (now["peak_anonymous_mib"] - before["peak_anonymous_mib"])
        / (now["rows"] - before["rows"])
        for before, now in zip(few[1:], many[1:], strict=True)
    }
    assert more["empty"] < 200, more  # buffers and sorts of a limited size, which 200,000 rows do not fill
    assert more["full"] < 60, more
    table = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:3] for line in table if line.startswith("| 1,000,000")] == [
        ["| 1,000,000", "parquet", "empty"], ["| 1,000,000", "parquet", "full"],
    ]  # fmt: skip


def test_the_time_of_a_batch_is_measured_for_both_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    batches(rows=40, rounds=1)
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[0] for line in lines] == ["| CoLA-like, 16 rows", "| MNLI-like, 128 rows"]
    assert all(int(line[1].replace(",", "")) > 1000 for line in lines)


def test_the_gpu_benchmark_runs_on_a_processor_and_survives_a_case_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, and with a fraction of its cases."""
    filter_warnings()

    def measure(plan: dict[str, Any], seconds: float) -> str:
        if plan["side"] == "hf best":
            return "its process ended with 1: "
        gpu_child.main(plan)
        return ""

    train = {"what": "train", "task": "cola", "batch_size": 16}
    cases = [{**train, "task": "none"}, train, {"what": "evaluate", "task": "mnli", "batch_size": 128}]
    monkeypatch.setattr(gpu, "CASES", cases)
    monkeypatch.setattr(gpu, "PACKED", [train])
    monkeypatch.setattr(gpu, "run_child", measure)
    monkeypatch.setattr(gpu, "start_up", lambda *_: {"hf": 4.0, "ours": 3.0})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpu.gpu(minutes=5, device="cpu", quick=True, output=tmp_path / "gpu.json")
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert [line["side"] for line in record["measured"]] == [
        *["ours"] * 3, *["hf"] * 3, *["hf best"] * 3, "ours padding-free",
    ]  # fmt: skip
    speeds = [line.get("samples_per_second", 0) > 0 for line in record["measured"]]
    assert speeds == [False, True, True] * 2 + [False] * 3 + [True]
    assert {line["failed"].partition(":")[0] for line in record["measured"] if "failed" in line} == {
        "KeyError", "UsageError", "its process ended with 1"
    }  # fmt: skip
    assert record["measured"][1]["flops_per_sample"] > 0
    assert "tiny-bert, hf best, CoLA-like, training, batch 16: its process ended" in capsys.readouterr().out


def test_the_gpu_table_has_ratios_shares_and_targets() -> None:
    case = {"model": "bert-base", "what": "train", "task": "mnli", "batch_size": 32}
    measured = [
        {"model": "bert-base", "side": "ours", "what": "peak", "flops_per_second": 8e14},
        {**case, "side": "hf", "samples_per_second": 500.0},
        {**case, "side": "hf best", "samples_per_second": 1000.0, "memory": 2**33},
        {
            **case,
            "side": "ours",
            "samples_per_second": 2000.0,
            "memory": 2**32,
            "idle": 0.0625,
            "flops_per_sample": 2e11,
        },
        {**case, "side": "ours padding-free", "samples_per_second": 2500.0},
        {**case, "side": "ours graphs", "samples_per_second": 3000.0},
    ]
    machine = {"device": "a GPU", "precision": "bf16-mixed", "torch": "2"}
    lines = gpu_table({"machine": machine, "start": None, "measured": measured}).splitlines()
    cells = "500 | 1,000 | 2,000 | 4.00 x | 2.00 x | 0.500 | 0.062 | 8.0, 4.0 |"
    assert lines[4] == f"| bert-base | MNLI-like, training, batch 32 | {cells}"
    assert "(target 4 x)" in lines[2]
    assert "batch 32 graphs | 500 | - | 3,000 | 6.00 x | - |" in lines[5]
    assert "batch 32 padding-free | 500 | 1,000 | 2,500 | 5.00 x | 2.50 x |" in lines[6]
    assert len({line.count("|") for line in lines[2:7]}) == 1


def test_the_gpu_is_busy_while_any_of_its_streams_is() -> None:
    from torch.autograd import DeviceType

    def event(start: float, end: float, device: Any = DeviceType.CUDA, note: bool = False) -> SimpleNamespace:
        return SimpleNamespace(
            device_type=device, time_range=SimpleNamespace(start=start, end=end), is_user_annotation=note
        )

    events = [event(0, 2e6), event(1e6, 3e6), event(5e6, 6e6), event(0, 9e6, DeviceType.CPU), event(0, 9e6, note=True)]
    assert gpu_child.busy_seconds(events) == 4.0
