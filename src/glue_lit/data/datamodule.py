"""`GLUEDataModule`: loading, tokenization and collation for any task."""

import os
from functools import cached_property
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler

from glue_lit import pretrained
from glue_lit.data.batches import Batch, TokenDataset, as_is
from glue_lit.data.sampling import EvaluationSampler, ShuffledSampler
from glue_lit.data.sources import Split, open_split
from glue_lit.data.tokens import TokenStore, cache_folder, cached_tokens, spread
from glue_lit.errors import DataError, ModelError, UsageError
from glue_lit.tasks import get_task

# Their position numbers start after the padding id, so the table holds that many positions less.
_POSITIONS_AFTER_PADDING = {
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip


class GLUEDataModule(LightningDataModule):
    """Rows, tokens and batches of one GLUE task.

    Batches hold ``input_ids``, ``attention_mask`` and, where the tokenizer gives them, ``token_type_ids``,
    all ``(batch, length)`` and padded to the longest of the batch; ``labels`` ``(batch,)``, -1 (NaN for
    regression) where unlabelled; ``idx`` ``(batch,)``, the example's position in its split.

    Args:
        task: Task to load; `glue-lit tasks` lists them.
        tokenizer: Hub name or folder of the tokenizer (the command takes the model's).
        source: Where the rows come from: ``hub``, ``demo``, or a folder in the layout of the official
            download (GLUE_FOLDER/CoLA/train.tsv and so on).
        batch_size: Examples per training step and device.
        eval_batch_size: Examples per evaluation step and device; null for the same as batch_size.
        max_length: Longest input in tokens, longer ones are cut; never more than the model takes,
            which null stands for.
        train_limit: Use only so many training examples, spread evenly over the split, for quick trials.
        validation_limit: The same for validation.
        test_limit: The same for test and predict.
        predict_split: What `predict` predicts: test (every test split of the task), or a split by name.
        num_workers: Processes that prepare batches; batches are cheap to make, so 0 is usually fastest.
        cache_dir: Folder for tokenised splits; null for $GLUE_LIT_CACHE, else ~/.cache/glue-lit.
        seed: Decides the order of training examples; null for that of seed_everything.
        revision: Branch, tag or commit of the tokenizer on the Hub.
        trust_remote_code: Run code that comes with the tokenizer. Only for authors you trust.
    """

    def __init__(
        self,
        task: str = "cola",
        tokenizer: str = "distilbert-base-uncased",
        source: str = "hub",
        batch_size: int = 16,
        eval_batch_size: int | None = None,
        max_length: int | None = None,
        train_limit: int | None = None,
        validation_limit: int | None = None,
        test_limit: int | None = None,
        predict_split: str = "test",
        num_workers: int = 0,
        cache_dir: str | None = None,
        seed: int | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.task = get_task(task)
        for flag, least in (("batch_size", 1), ("eval_batch_size", 1), ("max_length", 4), ("train_limit", 1),
                            ("validation_limit", 1), ("test_limit", 1), ("num_workers", 0)):  # fmt: skip
            value = self.hparams[flag]
            if value is not None and value < least:
                raise UsageError(f"data.{flag}: got {value}, allowed: {least} or more.")
        self._datasets: dict[str, TokenDataset] = {}
        self._splits: dict[str, Split] = {}

    @cached_property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer (a fast one wherever there is one)."""
        from transformers import AutoTokenizer

        name = self.hparams["tokenizer"]
        tokenizer = pretrained.load(
            "tokenizer",
            AutoTokenizer.from_pretrained,
            name,
            revision=self.hparams["revision"],
            trust_remote_code=self.hparams["trust_remote_code"],
        )
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
            # transformers makes one up for a folder without tokenizer files: every word would be unknown
            raise ModelError(
                f"model.name_or_path: {name!r} has no vocabulary. Its tokenizer files (tokenizer.json, or vocab.txt, "
                "vocab.json, spiece.model ...) must lie beside config.json: `tokenizer.save_pretrained` writes them."
            )
        if tokenizer.pad_token_id is None:
            raise ModelError(
                f"model.name_or_path: the tokenizer of {name!r} has no padding token, so it is no encoder's."
            )
        return tokenizer

    @cached_property
    def max_length(self) -> int:
        """Longest input in tokens: the least of what the user, the tokenizer and the model allow."""
        from transformers import AutoConfig

        name = self.hparams["tokenizer"]
        config = pretrained.load(
            "configuration",
            AutoConfig.from_pretrained,
            name,
            revision=self.hparams["revision"],
            trust_remote_code=self.hparams["trust_remote_code"],
        )
        # The tokenizer's own limit alone is not enough: it can be 1e30, which truncates nothing.
        limits = [self.hparams["max_length"], self.tokenizer.model_max_length]
        positions = getattr(config, "max_position_embeddings", None)
        if isinstance(positions, int) and positions > 0:  # -1: relative positions, no limit
            offset = self.tokenizer.pad_token_id + 1 if config.model_type in _POSITIONS_AFTER_PADDING else 0
            limits.append(positions - offset)
        return int(min(limit for limit in limits if limit is not None))

    def split(self, name: str) -> Split:
        """The split called ``name`` in the chosen source, not read yet."""
        if name not in self._splits:
            self._splits[name] = open_split(self.task, self.hparams["source"], name)
        return self._splits[name]

    def dataset(self, name: str) -> TokenDataset:
        """The tokenised split called ``name``, with its limit; made or read from the cache at first use.

        Raises:
            DataError: The split is missing or has a bad row.
            ModelError: There is no such tokenizer.
        """
        if name not in self._datasets:
            split = self.split(name)
            store = cached_tokens(
                split, self.tokenizer, self.max_length, self.task.is_regression, cache_folder(self.hparams["cache_dir"])
            )
            if name == "train":
                _check_all_labelled(store, split)
            limit = self.hparams["train_limit" if name == "train" else f"{name.split('_')[0]}_limit"]
            self._datasets[name] = TokenDataset(store, spread(store, limit), self.tokenizer)
        return self._datasets[name]

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
        rank, world = self._place()
        seed = self.hparams["seed"]
        if seed is None:  # seed_everything leaves its seed here, for child processes too
            seed = int(os.environ.get("PL_GLOBAL_SEED", 42))
        dataset = self.dataset("train")
        return self._loader(dataset, ShuffledSampler(len(dataset), seed, rank, world), self.hparams["batch_size"])

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
        size = self.hparams["eval_batch_size"] or self.hparams["batch_size"]
        return self._loader(dataset, EvaluationSampler(len(dataset), *self._place()), size)

    def _loader(self, dataset: TokenDataset, sampler: DistributedSampler[Any], batch_size: int) -> DataLoader[Batch]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        workers = self.hparams["num_workers"]
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=as_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=on_gpu,
        )

    def _place(self) -> tuple[int, int]:
        """This process's rank and the number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)


def _check_all_labelled(store: TokenStore, split: Split) -> None:
    hidden = (~store.labelled).nonzero().flatten()
    if len(hidden):
        raise DataError(
            f"{split.origin}: {len(hidden)} training row(s) have no label, the first is row {int(hidden[0])} "
            "(counted from 0). Label them or take them out."
        )
