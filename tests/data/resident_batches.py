"""A program for `test_resident_tokens.py`: batches that a simulated accelerator cuts, compared with the processor's.

    python resident_batches.py MODEL FOLDER

writes ``FOLDER/found.json``: for each case how many batches differ, where they are, and what the host did for them.
"""

import json
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from accelerator import DEVICE, simulated
from device_tensors import Backend

from glue_lit import GLUEDataModule
from glue_lit.data import loaders
from glue_lit.tasks.custom import CustomTask

MODEL, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])
COMMENTS = FOLDER / "comments.jsonl"
MIXED = {"padding_free": True, "group_by_length": False}
CASES: dict[str, dict[str, Any]] = {
    "padded": {},
    "padded on the left": {"left": True},
    "padded on the left to a multiple": {"left": True, "pad_to_multiple_of": 8},
    "padded to a multiple": {"pad_to_multiple_of": 8, "group_by_length": False},
    "padded to chosen lengths": {"length_buckets": 2},
    "by tokens": {"tokens_per_batch": 200},
    "without padding": MIXED,
    "of all lengths": {**MIXED, "tokens_per_batch": 200},
    "windows": {"windows": {"length": 16, "stride": 4}},
    "windows on the left": {"windows": {"length": 16, "stride": 4}, "left": True},
    "some windows without padding": {"windows": {"length": 12, "stride": 4, "train_windows": 2}, **MIXED},
    "scores in both orders": {"task": "stsb", "both_orders": True},
    "shots": {"shots": 6},
    "two splits, cut": {"task": "mnli", "max_length": 20, "truncation": "head_tail"},
    "several labels": {
        "task": "comments", "source": str(COMMENTS),
        "custom": CustomTask(text="text", kind="multi_label", test_file=str(COMMENTS)),
    },
    "one of three devices": {"place": (2, 3), "validation_limit": 7, "eval_batch_size": 1},
    "more than fits, but asked for": {"free": 1 << 10, "tokens_on_device": True},
    "with workers": {"num_workers": 2},
    "in small pieces": {"ahead": 200},
    "more than fits": {"free": 1 << 10},
    "on the processor": {"tokens_on_device": False},
}  # fmt: skip


class Side:
    """The loaders of a fit and of a prediction on a device.

    Args:
        settings: Those of the data module, and ``left`` for padding on that side.
        device: The trainer's.
        place: Its number, and how many there are.
    """

    def __init__(self, settings: dict[str, Any], device: torch.device, place: tuple[int, int]) -> None:
        own = dict(settings)
        is_left = own.pop("left", False)
        few = {"train_limit": None if "shots" in own else 40, "validation_limit": 11, "test_limit": 7}
        common = {"task": "cola", "tokenizer": str(MODEL), "source": "demo", "batch_size": 6}
        self.modules, self.loaders = [], []
        for stage in ("fit", "predict"):
            data = GLUEDataModule(**common | few | own)  # type: ignore[arg-type]
            strategy: Any = SimpleNamespace(root_device=device)
            data.trainer = SimpleNamespace(strategy=strategy, global_rank=place[0], world_size=place[1])  # type: ignore[assignment]
            if is_left:
                data.tokenizer.padding_side = "left"
            data.setup(stage)
            self.loaders += [data.train_dataloader(), *data.val_dataloader()] if stage == "fit" else []
            self.loaders += data.predict_dataloader() if stage == "predict" else []
            self.modules.append(data)


def compared(settings: dict[str, Any], simulation: Any) -> dict[str, Any]:
    """What a case's batches on the device differ in from those of the processor, and what they cost."""
    settings = dict(settings)
    place = settings.pop("place", (0, 1))
    Backend.free_memory = settings.pop("free", 1 << 30)
    loaders._AHEAD = settings.pop("ahead", 1 << 16)
    simulation.begin("start")
    there = Side(settings, DEVICE, place)
    here = Side(settings | {"num_workers": 0, "tokens_on_device": "auto"}, torch.device("cpu"), place)
    simulation.clear()
    simulation.begin("batches")
    ours = [batch for loader in there.loaders for batch in loader]
    simulation.begin("comparison")
    theirs = [batch for loader in here.loaders for batch in loader]
    values = [value for batch in ours for value in batch.values()]
    found = {
        "differ": sum(not same(one, other) for one, other in zip(ours, theirs, strict=True)),
        "devices": sorted({value.device.type for value in values}),
        "pinned": all(getattr(value, "is_pinned_here", False) for value in values),
        "aligned": all(batch["input_ids"].storage_offset() % 2 == 0 for batch in ours),
        "batches": len(ours),
        "loaders": len(there.loaders),
        "rows": sum(len(batch["idx"]) for batch in theirs),
        "fillers": sum(int((batch["idx"] < 0).sum()) for batch in theirs),
        "left": sum(int((batch["attention_mask"][:, 0] == 0).sum()) for batch in theirs),
        "operators": simulation.operators["batches"],
        "sent": simulation.sent["batches"],
        "waits": sum(count for (phase, *_), count in simulation.waits.items() if phase == "batches"),
    }
    for data in there.modules:
        data.teardown("fit")
    return found | {"again": same(next(iter(there.loaders[0])), theirs[0])}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two batches are equal to the bit."""
    one = {key: value.cpu() for key, value in one.items()}
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype
        and one[key].shape == other[key].shape
        and one[key].contiguous().view(torch.uint8).equal(other[key].contiguous().view(torch.uint8))
        for key in one
    )


def main() -> None:
    """Compare the batches of all cases."""
    COMMENTS.write_text("".join(
        json.dumps({"text": f"a {'fine' if n % 3 else 'dull'} room {n * 'x'}", "label": ["a", "b", "c"][n % 4 : n % 5]})
        + "\n" for n in range(40)
    ))  # fmt: skip
    found: dict[str, Any] = {}
    with simulated() as simulation:
        for name, settings in CASES.items():
            try:
                found[name] = compared(settings, simulation)
            except Exception:
                found[name] = {"failed": traceback.format_exc()}
    (FOLDER / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
