"""A task's splits in tokens: found in their source, tokenised once, cut to their limits."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from glue_lit.data.batches import TokenDataset
from glue_lit.data.both_orders import joined, swapped
from glue_lit.data.checks import check_all_labelled
from glue_lit.data.custom_source import open_custom_split
from glue_lit.data.model_inputs import longest_input, padding_for, padding_note, suited
from glue_lit.data.rows import Places, Rows, Split
from glue_lit.data.sources import open_split
from glue_lit.data.tokenizers import load_config, load_tokenizer, unpack
from glue_lit.data.tokens import TokenStore, cache_folder, cached_tokens, spread
from glue_lit.errors import DataError, UsageError
from glue_lit.system.console import note
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.glue import TaskSpec


class TaskSplits(LightningDataModule):
    """The splits of a task and the tokenizer that reads them; the settings (``hparams``) are those of `GLUEDataModule`.

    Attributes:
        task: Whose splits they are; set by the class that has the settings, as is ``custom``.
        custom: What a task of the user's own is.
    """

    task: TaskSpec
    custom: CustomTask

    def __init__(self) -> None:
        super().__init__()
        self._datasets: dict[str, TokenDataset] = {}
        self._splits: dict[str, Split] = {}
        self._packed: dict[str, Tensor] = {}  # a checkpoint's tokenizer
        self._architecture: str | None = None  # and the configuration of its model, as JSON

    # ---------------------------------------------------------------- the tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer (a fast one wherever there is one), set up for the model.

        A checkpoint's is as it was in its training.
        """
        if self._packed:
            return unpack(self._packed, self._config["model_type"])
        return suited(load_tokenizer(*self._named), self._config)

    @cached_property
    def max_length(self) -> int:
        """Longest input in tokens: the least of what the user, the tokenizer and the model allow."""
        return longest_input(self.tokenizer, self._config, self.hparams["max_length"])

    @property
    def padding(self) -> int | None:
        """The padding id that the model's configuration has to be given; ``None`` if what it has is right."""
        return padding_for(self.tokenizer, self._config)

    @property
    def padding_note(self) -> str | None:
        """A line on it, if it has to be given one."""
        return padding_note(self.tokenizer, self._config)

    @property
    def _config(self) -> dict[str, Any]:
        return json.loads(self._architecture) if self._architecture else self._named_config

    @cached_property
    def _named_config(self) -> dict[str, Any]:
        return load_config(*self._named)  # which may ask the Hub

    @property
    def _named(self) -> tuple[str, str, bool]:
        return self.hparams["tokenizer"], self.hparams["revision"], self.hparams["trust_remote_code"]

    def use_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the tokenizer out of a checkpoint, whose weights it belongs to: no Hub, no model folder."""
        own = checkpoint.get(type(self).__qualname__) or {}
        # copies, and nothing more of the checkpoint, since it is mapped from the file
        self._packed = {name: content.clone() for name, content in (own.get("tokenizer") or {}).items()}
        self._architecture = checkpoint["hyper_parameters"]["architecture"]

    # ---------------------------------------------------------------- rows

    def split(self, name: str) -> Split:
        """The split called ``name`` in the chosen source, not read yet."""
        if name not in self._splits:
            source = self.hparams["source"]
            if self.custom.text_columns:
                self._splits[name] = open_custom_split(self.task, self.custom, source, name)
            else:
                self._splits[name] = open_split(self.task, source, name)
        return self._splits[name]

    def dataset(self, name: str, stage: str = "fit") -> TokenDataset:
        """The tokenised split called ``name``, with its limit; made or read from the cache at first use.

        Args:
            name: Of the split.
            stage: What it is for: a fit may see the training rows in both orders, a prediction each once.

        Raises:
            DataError: The split is missing or has a bad row.
            ModelError: There is no such tokenizer.
        """
        both = name == "train" and stage == "fit" and self.hparams["both_orders"]
        key = f"{name} in both orders" if both else name
        if key not in self._datasets:
            split = self.split(name)
            store = self._tokens(split)
            positions = spread(store, self.hparams[f"{name.split('_')[0]}_limit"])
            if name == "train":
                check_all_labelled(store, split)
            if both:
                positions = torch.cat([positions, positions + len(store)])
                store = joined(store, self._tokens(swapped(split)))
            self._datasets[key] = TokenDataset(store, positions, self.tokenizer)
        return self._datasets[key]

    @property
    def _has_training_rows(self) -> bool:
        return any(key.split()[0] == "train" for key in self._datasets)

    @property
    def stores(self) -> list[TokenStore]:
        """The tokens of the splits that are loaded."""
        return [dataset.store for dataset in self._datasets.values()]

    def _tokens(self, split: Split) -> TokenStore:
        folder = cache_folder(self.hparams["cache_dir"])
        return cached_tokens(split, self.tokenizer, self.max_length, self.task.is_regression, folder)

    def rows_seen(self) -> dict[str, dict[str, str | None]]:
        """Of each split that is loaded, the hash of its rows and the commit that they are of on the Hub."""
        loaded = {key.split()[0]: dataset.store.digest for key, dataset in self._datasets.items()}
        return {name: {"hash": digest, "commit": self.split(name).commit} for name, digest in loaded.items()}

    def places(self, name: str, idx: Sequence[int], stage: str = "predict") -> Places | None:
        """Where examples of a loaded split stand in the user's file; ``None`` where that is not known.

        Ids are read from the file, which may have changed meanwhile: then they are left out, and that is said.

        Args:
            name: Of the split.
            idx: Their positions.
            stage: As for `dataset`.
        """
        split, store = self.split(name), self.dataset(name, stage).store
        if store.numbers is None:
            return None
        picked = torch.as_tensor(idx, dtype=torch.int64)
        rows = self.same_rows(name, stage) if self.custom.id is not None else None
        ids = None if rows is None else rows.ids
        named = None if ids is None else [ids[at % len(ids)] for at in picked.tolist()]  # in both orders, twice as many
        return Places(split.file, split.unit, store.numbers[picked].tolist(), named)

    def same_rows(self, name: str, stage: str = "predict") -> Rows | None:
        """The rows of a loaded split, read again; ``None``, which is said, if they are not those of its tokens."""
        split = self.split(name)
        try:
            rows = split.read()
            if rows.digest(split.labels) == self.dataset(name, stage).store.digest:
                return rows
            note(f"{split.file} has changed since its rows were read: their texts and ids are left out.")
        except DataError as error:
            note(f"The texts and ids of {name} are left out: {error}")
        return None

    def training_tokens(self) -> Tensor:
        """Every token that a training batch can hold, padding included, ``(tokens,)`` int64, each once."""
        dataset = self.dataset("train")
        input_ids = dataset.store.input_ids
        # Lightning builds the model inside `torch.device(...)`, where torch.tensor would make this one on the GPU.
        padding = input_ids.new_tensor([dataset.pad_id])
        tokens: Tensor = torch.unique(torch.cat([input_ids, padding]))
        return tokens.long()

    def splits_for(self, stage: str) -> tuple[str, ...]:
        """Names of the splits that ``fit``, ``validate``, ``test`` or ``predict`` needs.

        Raises:
            UsageError: The task has none for that stage, or predict_split names none.
        """
        task, wanted = self.task, self.hparams["predict_split"]
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

    def load(self, stage: str) -> None:
        """Read and tokenise all that ``stage`` needs, so that bad data stops a run before it starts."""
        for name in self.splits_for(stage):
            self.dataset(name, stage)

    def prepare_data(self) -> None:
        """Tokenise into the cache, on one process of each machine; the others then read it."""
        if self.trainer is not None and self.trainer.state.fn is not None:
            self.load(str(self.trainer.state.fn.value))

    def setup(self, stage: str) -> None:
        """Make the datasets of the stage available on this process."""
        self.load(stage)
