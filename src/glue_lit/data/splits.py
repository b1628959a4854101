"""`TaskSplits`: the splits of a task, found in their source, tokenised once, and cut to their limits."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from glue_lit.data.batches import TokenDataset
from glue_lit.data.both_orders import join_stores, swap_texts
from glue_lit.data.checks import check_all_labelled
from glue_lit.data.custom_task import complete_task
from glue_lit.data.model_inputs import adapt_tokenizer, longest_input, missing_padding_id, needs_equal_lengths
from glue_lit.data.rows import Places, Rows, Split
from glue_lit.data.sampling import EvaluationSampler
from glue_lit.data.sources import open_split
from glue_lit.data.tokenizers import load_config, load_tokenizer, unpack
from glue_lit.data.tokens import TokenStore, cache_folder, cached_tokens, evenly_spaced
from glue_lit.errors import DataError, UsageError
from glue_lit.system.console import note
from glue_lit.tasks.custom import CustomTask, parse_custom_task, resolve_task


def datamodule_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """State of the data module in a checkpoint, which has it under the name of the class; empty without one."""
    parts = (value for value in checkpoint.values() if isinstance(value, dict))
    others = (part for part in parts if {"tokenizer", "batches"} <= set(part))
    return checkpoint.get("GLUEDataModule") or next(others, {})


class TaskSplits:
    """The splits of a task and the tokenizer that reads them.

    Args:
        task: Name of the task.
        tokenizer: Name or folder of the tokenizer's model.
        source: Where the rows come from.
        custom: What a task of the user's own is; what it leaves open is read from the data.
        max_length: Longest input in tokens that is wanted.
        limits: At most so many rows (below 1: that share) of the splits whose names begin with the key.
        both_orders: Whether a fit sees the training pairs in both orders.
        predict_split: What `predict` predicts: ``test`` for every test split, or a split by name.
        cache_dir: Folder for tokens; ``None`` for the usual one.
        revision: That of the tokenizer.
        trust_remote_code: Run code that comes with the tokenizer.

    Attributes:
        task: The task's `TaskSpec`.
        custom: The settings with all that was read from the data.
        source: Where the rows come from.
    """

    def __init__(
        self,
        task: str,
        tokenizer: str,
        source: str,
        custom: CustomTask | Mapping[str, Any] | None = None,
        *,
        max_length: int | None = None,
        limits: Mapping[str, float | None] | None = None,
        both_orders: bool = False,
        predict_split: str = "test",
        cache_dir: str | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
    ) -> None:
        self.source = source
        self.custom = parse_custom_task(custom)
        if self.custom.text_columns:
            self.custom = complete_task(task, self.custom, source)
        self.task = resolve_task(task, self.custom)
        self._named = (tokenizer, revision, trust_remote_code)
        self._wanted_length = max_length
        self._limits = limits or {}
        self._both_orders = both_orders
        self._predict_split = predict_split
        self._cache = cache_folder(cache_dir)
        self._datasets: dict[str, TokenDataset] = {}
        self._splits: dict[str, Split] = {}
        self._packed: dict[str, Tensor] = {}  # a checkpoint's tokenizer
        self._architecture: str | None = None  # and the configuration of its model, as JSON

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any], **changes: Any) -> Self:
        """The splits that a checkpoint's model was trained and validated on, read by its own tokenizer.

        Args:
            checkpoint: Its content.
            changes: Settings to use in place of the checkpoint's, e.g. ``source`` where the data have moved.
        """
        known = dict(checkpoint.get("datamodule_hyper_parameters") or {}) | changes
        names = ("custom", "max_length", "both_orders", "predict_split", "cache_dir", "revision", "trust_remote_code")
        splits = cls(
            known["task"],
            known["tokenizer"],
            known["source"],
            limits={split: known.get(f"{split}_limit") for split in ("train", "validation", "test")},
            **{name: known[name] for name in names if name in known},
        )
        splits.use_checkpoint(checkpoint)
        return splits

    # ---------------------------------------------------------------- the tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer, a fast one if there is one, set up for the model; a checkpoint's as it was."""
        if self._packed:
            return unpack(self._packed, self.model_config["model_type"])
        return adapt_tokenizer(load_tokenizer(*self._named), self.model_config)

    @cached_property
    def max_length(self) -> int:
        """Longest input in tokens: the least of what the user, the tokenizer and the model allow."""
        return longest_input(self.tokenizer, self.model_config, self._wanted_length)

    @property
    def padding(self) -> int | None:
        """The padding id to write into the model's configuration; ``None`` if what it has is right."""
        return missing_padding_id(self.tokenizer, self.model_config)

    @property
    def model_config(self) -> dict[str, Any]:
        """The model's configuration as plain values."""
        return json.loads(self._architecture) if self._architecture else self._named_config

    @cached_property
    def _named_config(self) -> dict[str, Any]:
        return load_config(*self._named)  # which may ask the Hub

    def use_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the tokenizer out of a checkpoint, whose weights it belongs to: no Hub, no model folder."""
        files = datamodule_state(checkpoint).get("tokenizer") or {}
        # copies, and nothing more of the checkpoint, since it is mapped from the file
        self._packed = {name: content.clone() for name, content in files.items()}
        self._architecture = checkpoint["hyper_parameters"]["architecture"]

    # ---------------------------------------------------------------- splits

    def names_for(self, stage: str) -> tuple[str, ...]:
        """Names of the splits that ``fit``, ``validate``, ``test`` or ``predict`` needs.

        Raises:
            UsageError: The task has none for that stage, or predict_split names none.
        """
        task, wanted = self.task, self._predict_split
        if stage in ("fit", "validate") and not task.validation_splits:
            raise UsageError(
                f"data.task: {task.name} has test rows only, so there is nothing to {stage}. Train "
                f"`--data.task {task.trained_as}` and use `glue-lit test --data.task {task.name}` with that run."
            )
        if stage == "fit":
            return ("train", *task.validation_splits)
        if stage == "validate":
            return task.validation_splits
        if stage == "test" or wanted == "test":
            return task.test_splits
        if wanted not in task.files:
            raise UsageError(f"data.predict_split: got {wanted!r}, allowed: test, {', '.join(task.files)}.")
        return (wanted,)

    def split(self, name: str) -> Split:
        """The split called ``name`` in the source, not read yet."""
        if name not in self._splits:
            self._splits[name] = open_split(self.task, self.source, name, self.custom)
        return self._splits[name]

    def load(self, stage: str) -> None:
        """Read and tokenise all that ``stage`` needs, so that bad data stops a run before it starts."""
        for name in self.names_for(stage):
            self.dataset(name, stage)

    def dataset(self, name: str, stage: str = "fit") -> TokenDataset:
        """The tokenised split called ``name``, cut to its limit; made or read from the cache at first use.

        Args:
            name: Of the split.
            stage: What it is for: a fit may see the training pairs in both orders, a prediction each row once.

        Raises:
            DataError: The split is missing or has a bad row.
            ModelError: There is no such tokenizer.
        """
        both = name == "train" and stage == "fit" and self._both_orders
        key = f"{name} in both orders" if both else name
        if key not in self._datasets:
            split = self.split(name)
            store = self._tokens(split)
            positions = evenly_spaced(store, self._limits.get(name.split("_")[0]))
            if name == "train":
                check_all_labelled(store, split)
            if both:
                positions = torch.cat([positions, positions + len(store)])
                store = join_stores(store, self._tokens(swap_texts(split)))
            self._datasets[key] = TokenDataset(store, positions, self.tokenizer)
        return self._datasets[key]

    def _tokens(self, split: Split) -> TokenStore:
        return cached_tokens(split, self.tokenizer, self.max_length, self.task.is_regression, self._cache)

    def evaluation_sampler(
        self, name: str, rank: int = 0, world: int = 1, batch_size: int | None = None
    ) -> EvaluationSampler:
        """Batches of the split called ``name``, each example once."""
        equal_lengths = needs_equal_lengths(self.model_config)
        return EvaluationSampler(self.dataset(name, "predict").lengths, rank, world, batch_size, 8192, equal_lengths)

    # ---------------------------------------------------------------- what is loaded

    @property
    def loaded_stores(self) -> list[TokenStore]:
        """The tokens of the splits that are loaded."""
        return [dataset.store for dataset in self._datasets.values()]

    @property
    def training_rows(self) -> int | None:
        """Number of training examples, where they are loaded."""
        return len(self.dataset("train")) if any(key.split()[0] == "train" for key in self._datasets) else None

    def content_hashes(self) -> dict[str, dict[str, str | None]]:
        """Of each split that is loaded, the hash of its rows and the commit that they are of on the Hub."""
        loaded = {key.split()[0]: dataset.store.digest for key, dataset in self._datasets.items()}
        return {name: {"hash": digest, "commit": self.split(name).commit} for name, digest in loaded.items()}

    def training_tokens(self) -> Tensor:
        """Every token that a training batch can hold, padding included, ``(tokens,)`` int64, each once."""
        dataset = self.dataset("train")
        input_ids = dataset.store.input_ids
        # Lightning builds the model inside `torch.device(...)`, where torch.tensor would make this one on the GPU.
        padding = input_ids.new_tensor([dataset.pad_id])
        tokens: Tensor = torch.unique(torch.cat([input_ids, padding]))
        return tokens.long()

    def places(self, name: str, idx: Sequence[int], stage: str = "predict") -> Places | None:
        """Where examples of a loaded split stand in the user's file; ``None`` where that is not known.

        Ids are read from the file. If it has changed meanwhile, they are left out with a note.

        Args:
            name: Of the split.
            idx: Their positions.
            stage: As for `dataset`.
        """
        split, store = self.split(name), self.dataset(name, stage).store
        if store.numbers is None:
            return None
        picked = torch.as_tensor(idx, dtype=torch.int64)
        rows = self.reread(name, stage) if self.custom.id is not None else None
        ids = None if rows is None else rows.ids
        named = None if ids is None else [ids[at % len(ids)] for at in picked.tolist()]  # in both orders, twice as many
        return Places(split.file, split.unit, store.numbers[picked].tolist(), named)

    def reread(self, name: str, stage: str = "predict") -> Rows | None:
        """The rows of a loaded split, read again; ``None``, with a note, if they are not those of its tokens."""
        split = self.split(name)
        try:
            rows = split.read()
            if rows.digest(split.labels) == self.dataset(name, stage).store.digest:
                return rows
            note(f"{split.file} has changed since its rows were read: their texts and ids are left out.")
        except DataError as error:
            note(f"The texts and ids of {name} are left out: {error}")
        return None
