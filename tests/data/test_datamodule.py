"""The data module: all tasks from the demo corpus, lengths, limits, and errors before training."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.sources import open_split
from glue_lit.errors import DataError, ModelError, UsageError
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.glue import TASKS, get_task


def module(tiny_model: Path, **options: Any) -> GLUEDataModule:
    return GLUEDataModule(**{"tokenizer": str(tiny_model), "source": "demo", **options})


@pytest.fixture
def other_model(tiny_model: Path, tmp_path: Path) -> Any:
    """A copy of the tiny model's tokenizer with another configuration."""

    def make(limit: int = 1_000_000, **config: Any) -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        for file in tiny_model.glob("*token*"):
            shutil.copy(file, folder)
        settings = folder / "tokenizer_config.json"
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_max_length": limit}))
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.mark.parametrize("name", TASKS)
def test_every_task_loads_from_the_demo_corpus(tiny_model: Path, name: str) -> None:
    task = get_task(name)
    data = module(tiny_model, task=name, batch_size=5, eval_batch_size=7, train_limit=11, validation_limit=9,
                  test_limit=8)  # fmt: skip
    loaders = {"test": data.test_dataloader()}
    sizes = dict.fromkeys(task.test_splits, 8)
    if task.validation_splits:
        loaders |= {"train": [data.train_dataloader()], "validation": data.val_dataloader()}
        sizes |= {"train": 11, **dict.fromkeys(task.validation_splits, 9)}
    splits = {"train": ("train",), "validation": task.validation_splits, "test": task.test_splits}
    for kind, of_kind in loaders.items():
        assert len(of_kind) == len(splits[kind])
        for split, loader in zip(splits[kind], of_kind, strict=True):
            batches = list(loader)
            assert len(batches[0]["idx"]) == min(5 if kind == "train" else 7, sizes[split])
            assert sum(len(batch["idx"]) for batch in batches) == sizes[split]
            for batch in batches:
                check_batch(batch, task.is_regression, task.num_labels, hidden=kind == "test")


def check_batch(batch: dict[str, torch.Tensor], regression: bool, classes: int, hidden: bool) -> None:
    assert batch.keys() == {"input_ids", "attention_mask", "token_type_ids", "labels", "idx"}
    size, length = batch["input_ids"].shape
    assert length <= 64
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert batch[name].shape == (size, length)
        assert batch[name].dtype == torch.int64
    assert int(batch["attention_mask"].sum(1).max()) == length  # no longer than its longest example
    assert batch["labels"].shape == batch["idx"].shape == (size,)
    assert batch["labels"].dtype == (torch.float32 if regression else torch.int64)
    labels = batch["labels"]
    if hidden:
        assert bool(labels.isnan().all() if regression else (labels == -1).all())
    else:
        assert 0 <= float(labels.min()) <= float(labels.max()) <= (5 if regression else classes - 1)


def test_batches_hold_the_rows_that_idx_names(tiny_model: Path) -> None:
    data = module(tiny_model, task="rte", batch_size=16)
    rows = open_split(get_task("rte"), "demo", "train").read()
    seen = []
    for batch in data.train_dataloader():
        for position, idx in enumerate(batch["idx"].tolist()):
            ids = batch["input_ids"][position][batch["attention_mask"][position].bool()]
            pair = (rows.texts_a[idx], (rows.texts_b or [])[idx])
            if idx < 40:
                assert ids.tolist() == data.tokenizer(*pair, truncation=True, max_length=64)["input_ids"]
            assert batch["labels"][position] == rows.labels[idx]
            seen.append(idx)
    assert sorted(seen) == list(range(len(rows)))
    assert seen != sorted(seen)


# ---------------------------------------------------------------- length


@pytest.mark.parametrize(("asked", "length"), [(None, 64), (512, 64), (64, 64), (63, 63), (32, 32)])
def test_inputs_are_never_longer_than_the_model_takes(tiny_model: Path, asked: int | None, length: int) -> None:
    data = module(tiny_model, task="rte", max_length=asked, train_limit=50)
    assert data.max_length == length
    assert int(data.dataset("train").store.lengths.max()) <= length


def test_a_tokenizer_without_a_limit_of_its_own(other_model: Any) -> None:
    # model_max_length is 1e30 for a tokenizer that was saved without one, which truncates nothing.
    folder = other_model(limit=int(1e30), model_type="bert", max_position_embeddings=40)
    assert module(folder, max_length=512).max_length == 40
    assert module(folder).max_length == 40


def test_the_tokenizers_limit_counts_too(other_model: Any) -> None:
    assert module(other_model(limit=20, model_type="bert", max_position_embeddings=40)).max_length == 20


@pytest.mark.parametrize(
    ("model_type", "length"), [("roberta", 65), ("xlm-roberta", 65), ("camembert", 65), ("bert", 66)]
)
def test_positions_that_start_after_the_padding_id(other_model: Any, model_type: str, length: int) -> None:
    # RoBERTa numbers positions from padding_idx + 1, so that fewer tokens fit; one more is an index error.
    folder = other_model(model_type=model_type, max_position_embeddings=66, pad_token_id=0)
    assert module(folder).max_length == length


def test_roberta_takes_exactly_that_length(other_model: Any) -> None:
    from transformers import RobertaConfig, RobertaModel

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    folder = other_model(model_type="roberta", max_position_embeddings=12, pad_token_id=0)
    config = RobertaConfig(vocab_size=30, max_position_embeddings=12, pad_token_id=0, **small)
    model, length = RobertaModel(config).eval(), module(folder).max_length
    model(torch.full((1, length), 5))
    with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
        model(torch.full((1, length + 1), 5))


@pytest.mark.parametrize("positions", [-1, 0])
def test_relative_positions_have_no_limit(other_model: Any, positions: int) -> None:
    folder = other_model(limit=300, model_type="deberta-v2", max_position_embeddings=positions)
    assert module(folder).max_length == 300
    assert module(folder, max_length=128).max_length == 128


# ---------------------------------------------------------------- limits and order


def test_limits_belong_to_their_splits(tiny_model: Path) -> None:
    data = module(tiny_model, task="mnli", train_limit=10, validation_limit=6, test_limit=3)
    sizes = {split: len(data.dataset(split)) for split in get_task("mnli").files}
    assert sizes == {
        "train": 10,
        "validation_matched": 6,
        "validation_mismatched": 6,
        "test_matched": 3,
        "test_mismatched": 3,
    }
    whole = len(open_split(get_task("mnli"), "demo", "train").read())
    # The first ten rows of a sorted split would be all alike.
    assert data.dataset("train").examples.tolist() == [whole * i // 10 for i in range(10)]


def test_evaluation_batches_are_filled_with_tokens_by_default(tiny_model: Path) -> None:
    batches = list(module(tiny_model, batch_size=5).val_dataloader()[0])
    sizes = [batch["input_ids"].numel() for batch in batches]
    assert len(sizes) > 1
    assert max(sizes) <= 8192 < 1.2 * sorted(sizes)[1]
    batches = list(module(tiny_model, validation_limit=9, batch_size=5, eval_batch_size=4).val_dataloader()[0])
    assert sorted(len(batch["idx"]) for batch in batches) == [1, 4, 4]


def test_evaluation_has_every_row_once(tiny_model: Path) -> None:
    data = module(tiny_model, task="wnli", eval_batch_size=4, validation_limit=9)
    seen = torch.cat([batch["idx"] for batch in data.val_dataloader()[0]])
    assert sorted(seen.tolist()) == data.dataset("validation").examples.tolist()


def test_a_training_batch_can_be_filled_with_tokens(tiny_model: Path) -> None:
    options = {"tokens_per_batch": 200, "pad_to_multiple_of": 8}
    batches = list(module(tiny_model, train_limit=60, **options).train_dataloader())
    assert max(batch["input_ids"].numel() for batch in batches) <= 200
    assert {batch["input_ids"].shape[1] % 8 for batch in batches} == {0}
    assert sorted(torch.cat([batch["idx"] for batch in batches]).tolist()) == sorted(
        module(tiny_model, train_limit=60).dataset("train").examples.tolist()
    )


def test_length_groups_can_be_turned_off(tiny_model: Path) -> None:
    def padding(**options: Any) -> float:
        batches = list(module(tiny_model, train_limit=400, batch_size=8, **options).train_dataloader())
        masks = [batch["attention_mask"] for batch in batches]
        return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    assert padding() < 0.1 < padding(group_by_length=False)


def test_training_tokens_are_those_of_the_split_and_padding(tiny_model: Path) -> None:
    data = module(tiny_model)
    tokens = data.splits.training_tokens()
    seen = {token for batch in data.train_dataloader() for token in batch["input_ids"].flatten().tolist()}
    assert seen | {data.tokenizer.pad_token_id} <= set(tokens.tolist())
    assert len(tokens) == len(set(tokens.tolist())) < len(data.tokenizer)


def test_training_tokens_stay_on_the_cpu_while_a_model_is_built(tiny_model: Path) -> None:
    """Lightning calls `configure_model` inside ``torch.device(...)``, where new tensors are made on the GPU."""
    data = module(tiny_model)
    with torch.device("meta"):
        tokens = data.splits.training_tokens()
    assert tokens.device.type == "cpu"
    assert torch.equal(tokens, data.splits.training_tokens())


@pytest.mark.parametrize("options", [{}, {"tokens_per_batch": 512}, {"train_limit": 40}])
def test_batches_are_made_on_the_processor_whatever_the_default_device(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    def batches() -> list[dict[str, Any]]:
        data = module(tiny_model, cache_dir=str(tmp_path), **options)
        (evaluation,) = data.val_dataloader()
        loaders = data.train_dataloader(), evaluation
        return [
            loader.dataset[next(iter(loader.sampler))] for loader in loaders
        ]  # not through the loader, which draws a seed on the default device

    with torch.device("meta"):
        found = batches()
    for batch, expected in zip(found, batches(), strict=True):
        assert all(torch.equal(batch[key], expected[key]) for key in expected)


def test_the_seed_decides_the_training_order(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def first(**options: Any) -> list[int]:
        return next(iter(module(tiny_model, **options).train_dataloader()))["idx"].tolist()  # type: ignore[no-any-return]

    assert first(seed=1) == first(seed=1) != first(seed=2)
    monkeypatch.setenv("PL_GLOBAL_SEED", "2")  # set by seed_everything
    assert first() == first(seed=2)
    assert first(seed=1) != first()


# ---------------------------------------------------------------- stages


def test_splits_of_each_stage(tiny_model: Path) -> None:
    data = module(tiny_model, task="mnli", predict_split="validation_matched")
    validation = ("validation_matched", "validation_mismatched")
    assert data.splits.names_for("fit") == ("train", *validation)
    assert data.splits.names_for("validate") == validation
    assert data.splits.names_for("test") == ("test_matched", "test_mismatched")
    assert data.splits.names_for("predict") == ("validation_matched",)
    assert module(tiny_model, task="mnli").splits.names_for("predict") == ("test_matched", "test_mismatched")


def test_predict_split_must_exist(tiny_model: Path) -> None:
    data = module(tiny_model, task="mnli", predict_split="validation")
    allowed = "test, train, validation_matched, validation_mismatched, test_matched, test_mismatched."
    with pytest.raises(UsageError, match=re.escape(f"data.predict_split: got 'validation', allowed: {allowed}")):
        data.predict_dataloader()


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_the_diagnostic_set_is_only_tested(tiny_model: Path, stage: str) -> None:
    data = module(tiny_model, task="ax")
    expected = f"data.task: ax has test rows only, so there is nothing to {stage}. Train `--data.task mnli`"
    with pytest.raises(UsageError, match=re.escape(expected)):
        data.setup(stage)


@pytest.mark.parametrize(
    ("setting", "value", "least"),
    [
        ("batch_size", 0, 1),
        ("batch_size", -8, 1),
        ("eval_batch_size", 0, 1),
        ("max_length", 3, 4),
        ("validation_limit", 0, 1),
        ("test_limit", -1, 1),
        ("num_workers", -1, 0),
    ],
)
def test_values_out_of_range_are_refused(tiny_model: Path, setting: str, value: int, least: int) -> None:
    expected = f"data.{setting}: got {value}, allowed: {least} to "
    with pytest.raises(UsageError, match=re.escape(expected)):
        module(tiny_model, **{setting: value})
    module(tiny_model, **{setting: least})


@pytest.mark.parametrize("limit", [0, -1, 2.5, float("nan")])
def test_a_limit_is_a_number_of_rows_or_a_share(tiny_model: Path, limit: float) -> None:
    with pytest.raises(UsageError, match=re.escape(f"data.train_limit: got {limit}, allowed: a number of rows, or")):
        module(tiny_model, train_limit=limit)
    assert len(module(tiny_model, train_limit=0.1).dataset("train")) * 10 == len(module(tiny_model).dataset("train"))


def test_unknown_task(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.task: there is no task 'sst'\. Did you mean 'sst2'\?"):
        module(tiny_model, task="sst")


def test_a_training_row_without_a_label(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A -1 from the Hub in a training split would index the last class.
    from glue_lit.data import splits
    from glue_lit.data.rows import Rows, Split

    rows = Rows(["a", "b", "c"], None, [1, None, None])
    monkeypatch.setattr(
        splits,
        "open_split",
        lambda task, source, name, custom: Split(name, "somewhere", f"unlabelled {name}", lambda: rows),
    )
    data = module(tiny_model)
    expected = "somewhere: 2 training row(s) have no label, the first is row 2."
    with pytest.raises(DataError, match=re.escape(expected)):
        data.dataset("train")
    assert len(data.dataset("validation")) == 3  # unlabelled rows are not scored


def test_bad_data_stop_before_training(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "CoLA").mkdir()
    (tmp_path / "CoLA/train.tsv").write_text("x\t1\t\tfine\n")
    data = module(tiny_model, source=str(tmp_path))
    with pytest.raises(DataError, match=r"dev\.tsv is missing, so task cola has no validation split here"):
        data.setup("fit")


def test_a_missing_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.name_or_path: there is no folder"):
        module(tmp_path / "none").dataset("train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ModelError,  # older versions of transformers make a tokenizer of no files
        match=r"could not load the tokenizer of .*empty'\. The folder holds nothing; a model|empty' has no vocabulary",
    ):
        module(tmp_path / "empty").dataset("train")


def test_a_folder_without_tokenizer_files_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    # transformers makes a tokenizer to which every word is unknown
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_model / name, tmp_path)
    with pytest.raises(ModelError, match=r"has no vocabulary\. Its tokenizer files .* must lie beside config\.json"):
        module(tiny_model, tokenizer=str(tmp_path)).dataset("train")


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_ids_of_a_changed_file_are_left_out(
    change: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["key,text,label", *(f"k{n},text {n},{'ab'[n % 2]}" for n in range(20))]
    source = tmp_path / "own.csv"
    source.write_text("\n".join(lines))
    custom = CustomTask(text="text", id="key")
    data = GLUEDataModule("own", str(tiny_model), source=str(source), custom=custom, validation_limit=1)
    data.setup("validate")
    places = data.splits.places("validation", [0, 1])
    assert places is not None
    assert places.ids == [f"k{number - 2}" for number in places.numbers]
    if change == "gone":
        source.unlink()
    else:
        source.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    capsys.readouterr()
    assert data.splits.places("validation", [0, 1]) == replace(places, ids=None)
    assert "ids" in capsys.readouterr().err


def test_both_orders_of_a_pair_have_the_same_line(tiny_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "train.csv"
    source.write_text("\n".join(["key,a,b,label", *(f"k{n},one {n},two {n},{'xy'[n % 2]}" for n in range(9))]))
    custom = CustomTask(text=["a", "b"], id="key", validation_file=str(source))
    data = GLUEDataModule("own", str(tiny_model), source=str(source), custom=custom, both_orders=True, train_limit=4)
    data.setup("fit")
    places = data.splits.places("train", [2, 11], "fit")
    assert places is not None
    assert (places.numbers, places.ids) == ([4, 4], ["k2", "k2"])
