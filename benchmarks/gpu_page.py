"""The measurements on a GPU as a table in Markdown, with the targets beside the figures."""

from collections.abc import Callable
from typing import Any

TARGETS = {"hf": 4.0, "hf best": 2.0, "idle": 0.1, "share": 0.45}
_HEAD = (
    "model", "work", "HF, recipe", "HF, best flags", "glue-lit", f"of the recipe (target {TARGETS['hf']:g} x)",
    f"of the best flags (target {TARGETS['hf best']:g} x)",
    f"share of the bf16 product (target {TARGETS['share']:g} for bert-base on MNLI)",
    f"GPU idle (target below {TARGETS['idle']:g})", "memory, GiB: HF best, glue-lit",
)  # fmt: skip
# Ends of our sides' names, each with the side that it is compared with.
_SIDES = {
    "": "hf best",
    " compiled": "hf compiled",
    " graphs": "hf compiled",
    " padding-free": "hf best",
    " sending batches": "hf best",
}
Found = dict[str, Any]


def markdown(record: Found) -> str:
    """The table, what failed, and the start-up; speeds are in samples a second."""
    measured = record["measured"]
    peak = next((line.get("flops_per_second") for line in measured if line["what"] == "peak"), None)
    keys = dict.fromkeys((m["model"], m["what"], m["task"], m["batch_size"]) for m in measured if m["what"] != "peak")
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    for key in keys:
        sides = {m["side"]: m for m in measured if (m["model"], m["what"], m.get("task"), m.get("batch_size")) == key}
        for suffix, rival in _SIDES.items():
            ours, best = sides.get(f"ours{suffix}"), sides.get(rival)
            if ours is None and rival != f"hf{suffix or ' best'}":
                continue
            if ours is not None or best is not None:
                lines.append(_line(_cells(key, suffix, sides.get("hf", {}), best or {}, ours or {}, peak)))
    failed = [f"- {m['model']}, {m['side']}, {_work(m)}: {m['failed']}" for m in measured if "failed" in m]
    start = record["start"]
    said = f"Command to first step: HF {start['hf']:.1f} s, glue-lit {start['ours']:.1f} s." if start else ""
    machine = record["machine"]
    about = f"{machine['device']}, {machine['precision']}, torch {machine['torch']}."
    return "\n".join([about, "", *lines, "", said, *(["", "Not measured:", *failed] if failed else [])])


def _cells(key: tuple[Any, ...], suffix: str, hf: Found, best: Found, ours: Found, peak: float | None) -> list[str]:
    model, what, task, size = key
    speed = ours.get("samples_per_second")
    share = speed * ours["flops_per_sample"] / peak if speed and peak and "flops_per_sample" in ours else None
    memory = ", ".join(_show(side.get("memory"), lambda value: f"{value / 2**30:.1f}") for side in (best, ours))
    return [
        model, _work({"what": what, "task": task, "batch_size": size}) + suffix,
        *(_show(side.get("samples_per_second"), lambda value: f"{value:,.0f}") for side in (hf, best, ours)),
        *(_show(side.get("samples_per_second"), lambda value: f"{speed / value:.2f} x" if speed else "-")
          for side in (hf, best)),
        _show(share, lambda value: f"{value:.3f}"), _show(ours.get("idle"), lambda value: f"{value:.3f}"), memory,
    ]  # fmt: skip


def _show(value: float | None, how: Callable[[float], str]) -> str:
    return "-" if value is None else how(value)


def _work(case: Found) -> str:
    if case["what"] == "peak":
        return "the bf16 product"
    name = {"cola": "CoLA", "mnli": "MNLI"}.get(case["task"], case["task"])
    return f"{name}-like, {'training' if case['what'] == 'train' else 'evaluation'}, batch {case['batch_size']}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
