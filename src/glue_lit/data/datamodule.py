"""`GLUEDataModule`: loading, tokenization and collation for any task."""

from functools import cached_property
from typing import Annotated, Any, Self

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from glue_lit.data.accumulation import accumulation_schedule
from glue_lit.data.batches import Batch, ResumableLoader, TokenDataset, identity_collate, ignore_signals
from glue_lit.data.checks import MOST_WORKERS, ROWS_OR_SHARE, check_data_settings
from glue_lit.data.rows import Split
from glue_lit.data.sampling import ShuffledSampler
from glue_lit.data.sources import source_values
from glue_lit.data.splits import TaskSplits
from glue_lit.data.tokenizers import pack
from glue_lit.errors import RunError
from glue_lit.runs.settings import NOT_SHOWN, Setting, count, described
from glue_lit.system.environment import global_seed
from glue_lit.tasks.custom import NO_TASK, CustomTask
from glue_lit.tasks.spec import TaskSpec


class GLUEDataModule(LightningDataModule):
    """Rows, tokens and batches of one task.

    Batches hold ``input_ids``, ``attention_mask`` and, where the model tells the texts of a pair apart,
    ``token_type_ids``, all ``(batch, length)`` and padded to the longest of the batch; ``labels`` ``(batch,)``, -1 (NaN
    for regression) where unlabelled; ``idx`` ``(batch,)``, the example's position in its split.

    Args:
        task: Task to load; `glue-lit tasks` lists them. Any other name is that of a task of your own (data.custom).
        tokenizer: Hub name or folder of the tokenizer (the command takes the model's).
        source: Where the rows come from: one of `glue_lit.data.sources.SOURCES`.
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
        test_limit: The same for test; what predict_split names has its own split's.
        predict_split: What `predict` predicts: test (every test split of the task), or a split by name.
        num_workers: Processes that prepare batches; batches are cheap to make, so 0 is usually fastest.
        cache_dir: Folder for tokenised splits; null for $GLUE_LIT_CACHE, else ~/.cache/glue-lit.
        seed: Decides the order of training examples; null for that of seed_everything.
        revision: Branch, tag or commit of the tokenizer on the Hub.
        trust_remote_code: Run code that comes with the tokenizer. Only for authors you trust.
        custom: What a task of your own is.
    """

    @described
    def __init__(
        self,
        task: Annotated[str, Setting(card="never", hparams="always")] = "cola",
        tokenizer: Annotated[str, NOT_SHOWN] = "distilbert-base-uncased",
        source: Annotated[str, Setting(label="Data", card="always")] = "hub",
        batch_size: Annotated[int, Setting(count(1), "Batch size per device", card="always", hparams="always")] = 16,
        group_by_length: Annotated[bool, Setting(label="Batches of like lengths", card="always")] = True,
        tokens_per_batch: Annotated[
            int | None, Setting(count(1), card="never")
        ] = None,  # the card has it as batch size
        eval_batch_size: Annotated[int | None, Setting(count(1), card="never")] = None,
        max_length: Annotated[int | None, Setting(count(4), "Longest input")] = None,
        train_limit: Annotated[int | float | None, Setting(ROWS_OR_SHARE, "Training rows, at most")] = None,
        both_orders: Annotated[bool, Setting(label="Pairs in both orders")] = False,
        validation_limit: Annotated[int | None, Setting(count(1), "Validation rows, at most")] = None,
        test_limit: Annotated[int | None, Setting(count(1), card="never")] = None,
        predict_split: Annotated[str, Setting(card="never")] = "test",
        num_workers: Annotated[int, Setting(count(0, MOST_WORKERS), card="never")] = 0,
        cache_dir: Annotated[str | None, NOT_SHOWN] = None,
        seed: Annotated[int | None, Setting(label="Seed of the order", hparams="always")] = None,
        revision: Annotated[str, Setting(card="never")] = "main",
        trust_remote_code: Annotated[bool, Setting(card="never")] = False,
        custom: Annotated[CustomTask, NOT_SHOWN] = NO_TASK,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["custom"])
        self.splits = TaskSplits(
            task,
            tokenizer,
            source,
            custom,
            max_length=max_length,
            limits={"train": train_limit, "validation": validation_limit, "test": test_limit},
            both_orders=both_orders,
            predict_split=predict_split,
            cache_dir=cache_dir,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        self.save_hyperparameters({"custom": self.custom.settings() if self.custom.text_columns else None})
        check_data_settings(type(self), self.hparams, self.task)
        self._batches_before: dict[str, Any] | None = None

    @property
    def task(self) -> TaskSpec:
        """The task's description."""
        return self.splits.task

    @property
    def custom(self) -> CustomTask:
        """What a task of your own is, with all that was read from the data."""
        return self.splits.custom

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer."""
        return self.splits.tokenizer

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        return self.splits.max_length

    @property
    def padding(self) -> int | None:
        """The padding id to write into the model's configuration; ``None`` if what it has is right."""
        return self.splits.padding

    def split(self, name: str) -> Split:
        """The split called ``name`` in the source, not read yet: ``split("train").read()`` reads its rows."""
        return self.splits.split(name)

    def dataset(self, name: str, stage: str = "fit") -> TokenDataset:
        """The tokenised split called ``name``; see `TaskSplits.dataset`."""
        return self.splits.dataset(name, stage)

    def prepare_data(self) -> None:
        """Tokenise into the cache, on one process of each machine; the others then read it."""
        if self.trainer is not None and self.trainer.state.fn is not None:
            self.splits.load(str(self.trainer.state.fn.value))

    def setup(self, stage: str) -> None:
        """Make the datasets of the stage available on this process."""
        self.splits.load(stage)

    # ---------------------------------------------------------------- checkpoints

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As Lightning's, but whether code may be run is the caller's word (``trust_remote_code``), not the file's."""
        return super().load_from_checkpoint(checkpoint_path, *args, **{"trust_remote_code": False} | kwargs)

    def use_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the tokenizer out of a checkpoint, whose weights it belongs to."""
        self.splits.use_checkpoint(checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """The tokenizer, what decides which examples a training batch holds, and which rows they are of."""
        batches = self._batch_settings(self.trainer)
        return {"tokenizer": self._tokenizer_files, "batches": batches, "rows": self.splits.content_hashes()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep what the checkpoint's batches were made from, for `check_same_batches`."""
        self._batches_before = state_dict.get("batches")

    @cached_property
    def _tokenizer_files(self) -> dict[str, Tensor]:
        return pack(self.tokenizer)

    def _batch_settings(self, trainer: Trainer | None) -> dict[str, Any]:
        return {
            "data.batch_size": self.hparams["batch_size"],
            "data.group_by_length": self.hparams["group_by_length"],
            "data.tokens_per_batch": self.hparams["tokens_per_batch"],
            "data.train_limit": self.hparams["train_limit"],
            "data.max_length": self.max_length,  # groups are by what is left of the texts
            "data.both_orders": self.hparams["both_orders"],
            "the seed of the order": self._order_seed,
            "training rows": self.splits.training_rows,
            "devices": trainer.world_size if trainer is not None else 1,
            "trainer.accumulate_grad_batches": 1
            if trainer is None
            else accumulation_schedule(trainer) or trainer.accumulate_grad_batches,
        }

    def has_same_batches(self, trainer: Trainer) -> bool:
        """Whether a training batch holds the same examples as when the checkpoint was written."""
        now = self._batch_settings(trainer)
        return all(now[name] == before for name, before in (self._batches_before or now).items())

    def check_same_batches(self, trainer: Trainer) -> None:
        """Stop where a fit would resume in the middle of an epoch with other batches than it began it with.

        Raises:
            RunError: One of the settings that decide it has changed.
        """
        now = self._batch_settings(trainer)
        for name, before in (self._batches_before or now).items():
            if now[name] != before:
                raise RunError(
                    f"The checkpoint stands in the middle of an epoch that was begun with {name} {before}; now it is "
                    f"{now[name]}. Go on with {before}, or from a checkpoint at the end of an epoch."
                )

    # ---------------------------------------------------------------- batches

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training split in a new random order each epoch."""
        return self._loader(self.dataset("train"), self.training_sampler(self.trainer))

    def training_sampler(self, trainer: Trainer | None) -> ShuffledSampler:
        """The order of the training examples, for this process of a trainer."""
        hp = self.hparams
        return ShuffledSampler(
            self.dataset("train").lengths,
            hp["batch_size"],
            self._order_seed,
            *_process(trainer),
            grouped=hp["group_by_length"],
            tokens=hp["tokens_per_batch"],
        )

    @property
    def _order_seed(self) -> int:
        seed = self.hparams["seed"]  # seed_everything leaves its seed here, for child processes too
        if seed is None:
            seed = global_seed()
        return 42 if seed is None else int(seed)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each validation split."""
        return self._evaluation_loaders("validate")

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each test split."""
        return self._evaluation_loaders("test")

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each split that predict_split names."""
        return self._evaluation_loaders("predict")

    def _evaluation_loaders(self, stage: str) -> list[DataLoader[Batch]]:
        splits, size = self.splits, self.hparams["eval_batch_size"]
        return [
            self._loader(
                splits.dataset(name, "predict"), splits.evaluation_sampler(name, *_process(self.trainer), size)
            )
            for name in splits.names_for(stage)
        ]

    def _loader(self, dataset: TokenDataset, sampler: DistributedSampler[Any]) -> DataLoader[Batch]:
        device = "cpu" if self.trainer is None else self.trainer.strategy.root_device.type
        workers = self.hparams["num_workers"]
        return ResumableLoader(
            dataset,
            batch_size=None,  # the sampler gives whole batches
            sampler=sampler,
            collate_fn=identity_collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device not in ("cpu", "mps"),  # MPS shares the memory of the processor
            worker_init_fn=ignore_signals,
            generator=torch.Generator(),  # else every pass over the data takes a number from the model's
        )


GLUEDataModule.__doc__ = (GLUEDataModule.__doc__ or "").replace(
    "one of `glue_lit.data.sources.SOURCES`",
    f"{', '.join(source_values(is_custom=False))}. For a task of your own: {', '.join(source_values(is_custom=True))}",
)


def _process(trainer: Trainer | None) -> tuple[int, int]:
    """This process's rank and the number of processes."""
    return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
