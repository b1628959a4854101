"""`GLUEDataModule`: loading, tokenization and collation for any task."""

import json
import os
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from glue_lit.custom import NO_TASK, CustomTask, custom_of, task_of
from glue_lit.data.batches import Batch, ResumableLoader, TokenDataset, as_is, leave_signals
from glue_lit.data.custom import complete_task, open_custom_split
from glue_lit.data.orders import joined, swapped
from glue_lit.data.sampling import EvaluationSampler, ShuffledSampler
from glue_lit.data.settings import check_all_labelled, check_settings
from glue_lit.data.sources import Split, open_split
from glue_lit.data.tokenizers import load_config, load_tokenizer, longest_input, pack, unpack
from glue_lit.data.tokens import TokenStore, cache_folder, cached_tokens, spread
from glue_lit.errors import RunError, UsageError


class GLUEDataModule(LightningDataModule):
    """Rows, tokens and batches of one task.

    Batches hold ``input_ids``, ``attention_mask`` and, where the tokenizer gives them, ``token_type_ids``,
    all ``(batch, length)`` and padded to the longest of the batch; ``labels`` ``(batch,)``, -1 (NaN for
    regression) where unlabelled; ``idx`` ``(batch,)``, the example's position in its split.

    Args:
        task: Task to load; `glue-lit tasks` lists them. Any other name is that of a task of your own (data.custom).
        tokenizer: Hub name or folder of the tokenizer (the command takes the model's).
        source: Where the rows come from: ``hub``, ``demo``, or a folder in the layout of the official
            download (GLUE_FOLDER/CoLA/train.tsv and so on). For a task of your own: a file, a folder with
            train, validation and test files, or the name of a data set on the Hub (name:configuration).
        batch_size: Examples per training step and device.
        group_by_length: Put training examples of about the same length into a batch, which pads less.
        tokens_per_batch: Fill training batches up to so many tokens (padding included) in place of batch_size
            examples.
        eval_batch_size: Examples per evaluation step and device; null for as many as fit 8192 tokens.
        max_length: Longest input in tokens, longer ones are cut; never more than the model takes,
            which null stands for.
        train_limit: Use only so many training examples, spread evenly over the split, for quick trials; below 1 it
            is the share of them.
        both_orders: Train on each pair of texts in both orders, which doubles an epoch. For tasks where neither text
            comes first, such as paraphrase and similarity.
        validation_limit: The same for validation.
        test_limit: The same for test and predict.
        predict_split: What `predict` predicts: test (every test split of the task), or a split by name.
        num_workers: Processes that prepare batches; batches are cheap to make, so 0 is usually fastest.
        cache_dir: Folder for tokenised splits; null for $GLUE_LIT_CACHE, else ~/.cache/glue-lit.
        seed: Decides the order of training examples; null for that of seed_everything.
        revision: Branch, tag or commit of the tokenizer on the Hub.
        trust_remote_code: Run code that comes with the tokenizer. Only for authors you trust.
        custom: What a task of your own is.
    """

    def __init__(
        self,
        task: str = "cola",
        tokenizer: str = "distilbert-base-uncased",
        source: str = "hub",
        batch_size: int = 16,
        group_by_length: bool = True,
        tokens_per_batch: int | None = None,
        eval_batch_size: int | None = None,
        max_length: int | None = None,
        train_limit: int | float | None = None,
        both_orders: bool = False,
        validation_limit: int | None = None,
        test_limit: int | None = None,
        predict_split: str = "test",
        num_workers: int = 0,
        cache_dir: str | None = None,
        seed: int | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
        custom: CustomTask = NO_TASK,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["custom"])
        self.custom = custom_of(custom)
        if self.custom.text_columns:
            self.custom = complete_task(task, self.custom, source)
        self.save_hyperparameters({"custom": self.custom.settings() if self.custom.text_columns else None})
        self.task = task_of(task, self.custom)
        check_settings(self.hparams, self.task)
        self._datasets: dict[str, TokenDataset] = {}
        self._splits: dict[str, Split] = {}
        self._checkpoint: dict[str, Any] = {}
        self._batches_before: dict[str, Any] | None = None

    @cached_property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer (a fast one wherever there is one)."""
        if files := self._checkpoint.get(type(self).__qualname__, {}).get("tokenizer"):
            return unpack(files)
        return load_tokenizer(*self._named)

    @cached_property
    def max_length(self) -> int:
        """Longest input in tokens: the least of what the user, the tokenizer and the model allow."""
        architecture = self._checkpoint.get("hyper_parameters", {}).get("architecture")
        config = json.loads(architecture) if architecture else load_config(*self._named)
        return longest_input(self.tokenizer, config, self.hparams["max_length"])

    @property
    def _named(self) -> tuple[str, str, bool]:
        return self.hparams["tokenizer"], self.hparams["revision"], self.hparams["trust_remote_code"]

    # ---------------------------------------------------------------- checkpoints

    def use_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the tokenizer out of a checkpoint, whose weights it belongs to: no Hub, no model folder."""
        own = checkpoint.get(type(self).__qualname__) or {}
        files = {name: content.clone() for name, content in (own.get("tokenizer") or {}).items()}
        architecture = checkpoint["hyper_parameters"]["architecture"]
        self._checkpoint = {  # and no more of it, since the rest is mapped from the file
            type(self).__qualname__: {"tokenizer": files},
            "hyper_parameters": {"architecture": architecture},
        }

    def state_dict(self) -> dict[str, Any]:
        """The tokenizer, and what decides which examples a training batch holds."""
        return {"tokenizer": self._tokenizer_files, "batches": self._batches()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep what the checkpoint's batches were made from, for `check_same_batches`."""
        self._batches_before = state_dict.get("batches")

    @cached_property
    def _tokenizer_files(self) -> dict[str, Tensor]:
        return pack(self.tokenizer)

    def _batches(self) -> dict[str, Any]:
        trainer = self.trainer
        return {
            "data.batch_size": self.hparams["batch_size"],
            "data.group_by_length": self.hparams["group_by_length"],
            "data.tokens_per_batch": self.hparams["tokens_per_batch"],
            "data.train_limit": self.hparams["train_limit"],
            "data.both_orders": self.hparams["both_orders"],
            "the seed of the order": self._order_seed,
            "training rows": len(self.dataset("train")) if "train" in self._datasets else None,
            "devices": self._place()[1],
            "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches if trainer is not None else 1,
        }

    def check_same_batches(self) -> None:
        """Stop where a fit would go on in the middle of an epoch with other batches than it began it with.

        Raises:
            RunError: One of the settings that decide it has changed.
        """
        now = self._batches()
        for name, before in (self._batches_before or now).items():
            if now[name] != before:
                raise RunError(
                    f"The checkpoint stands in the middle of an epoch that was begun with {name} {before}; now it is "
                    f"{now[name]}. Go on with {before}, or from a checkpoint at the end of an epoch."
                )

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

    def dataset(self, name: str) -> TokenDataset:
        """The tokenised split called ``name``, with its limit; made or read from the cache at first use.

        Raises:
            DataError: The split is missing or has a bad row.
            ModelError: There is no such tokenizer.
        """
        if name not in self._datasets:
            split = self.split(name)
            store = self._tokens(split)
            positions = spread(store, self.hparams[f"{name.split('_')[0]}_limit"])
            if name == "train":
                check_all_labelled(store, split.origin)
                if self.hparams["both_orders"]:
                    positions = torch.cat([positions, positions + len(store)])
                    store = joined(store, self._tokens(swapped(split)))
            self._datasets[name] = TokenDataset(store, positions, self.tokenizer)
        return self._datasets[name]

    @property
    def stores(self) -> list[TokenStore]:
        """The tokens of the splits that are loaded."""
        return [dataset.store for dataset in self._datasets.values()]

    def _tokens(self, split: Split) -> TokenStore:
        folder = cache_folder(self.hparams["cache_dir"])
        return cached_tokens(split, self.tokenizer, self.max_length, self.task.is_regression, folder)

    def training_tokens(self) -> Tensor:
        """Every token that a training batch can hold, padding included, ``(tokens,)`` int64, each once."""
        dataset = self.dataset("train")
        padding = torch.tensor([dataset.pad_id], dtype=torch.int32)
        tokens: Tensor = torch.unique(torch.cat([dataset.store.input_ids, padding]))
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
            self.dataset(name)

    def prepare_data(self) -> None:
        """Tokenise into the cache, on one process of each machine; the others then read it."""
        if self.trainer is not None and self.trainer.state.fn is not None:
            self.load(str(self.trainer.state.fn.value))

    def setup(self, stage: str) -> None:
        """Make the datasets of the stage available on this process."""
        self.load(stage)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training split in a new random order each epoch."""
        dataset, hp = self.dataset("train"), self.hparams
        sampler = ShuffledSampler(
            dataset.lengths,
            hp["batch_size"],
            self._order_seed,
            *self._place(),
            grouped=hp["group_by_length"],
            tokens=hp["tokens_per_batch"],
        )
        return self._loader(dataset, sampler)

    @property
    def _order_seed(self) -> int:
        seed = self.hparams["seed"]  # seed_everything leaves its seed here, for child processes too
        return int(os.environ.get("PL_GLOBAL_SEED", 42)) if seed is None else int(seed)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each validation split."""
        return [self._evaluation_loader(name) for name in self.splits_for("validate")]

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each test split."""
        return [self._evaluation_loader(name) for name in self.splits_for("test")]

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each split that predict_split names."""
        return [self._evaluation_loader(name) for name in self.splits_for("predict")]

    def _evaluation_loader(self, name: str) -> DataLoader[Batch]:
        dataset = self.dataset(name)
        sampler = EvaluationSampler(dataset.lengths, *self._place(), batch_size=self.hparams["eval_batch_size"])
        return self._loader(dataset, sampler)

    def _loader(self, dataset: TokenDataset, sampler: DistributedSampler[Any]) -> DataLoader[Batch]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        workers = self.hparams["num_workers"]
        return ResumableLoader(
            dataset,
            batch_size=None,  # the sampler gives whole batches
            sampler=sampler,
            collate_fn=as_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=on_gpu,
            worker_init_fn=leave_signals,
            generator=torch.Generator(),  # else every pass over the data takes a number from the model's
        )

    def _place(self) -> tuple[int, int]:
        """This process's rank and the number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
