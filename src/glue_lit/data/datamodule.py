"""`GLUEDataModule`: the LightningDataModule that loads, tokenises and batches any task."""

from functools import cached_property
from typing import Annotated, Any, Self

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from glue_lit.data.batch_settings import batch_settings, changed_settings, check_unchanged
from glue_lit.data.batches import Batch, TokenDataset
from glue_lit.data.checks import MOST_WORKERS, ROWS_OR_SHARE, check_data_settings
from glue_lit.data.head_tail import Truncation
from glue_lit.data.length_buckets import choose_lengths
from glue_lit.data.loaders import batch_loader
from glue_lit.data.model_inputs import needs_equal_lengths
from glue_lit.data.resident_tokens import ALLOWED, OnDevice, ResidentTokens, keep_tokens
from glue_lit.data.rows import Split
from glue_lit.data.sampling import ShuffledSampler, rank_and_world
from glue_lit.data.shots import order_seed
from glue_lit.data.sources import source_values
from glue_lit.data.splits import TaskSplits
from glue_lit.data.tokenizers import pack
from glue_lit.data.window_settings import Windows, plain_windows
from glue_lit.runs.settings import INTERNAL, Setting, count, described, one_of
from glue_lit.tasks.custom import NO_TASK, CustomTask, plain
from glue_lit.tasks.spec import TaskSpec


class GLUEDataModule(LightningDataModule):
    """Rows, tokens and batches of one task.

    Batches hold ``input_ids``, ``attention_mask`` and, for models that tell the texts of a pair apart,
    ``token_type_ids``, all ``(batch, length)`` int64, padded to the longest example of the batch; ``labels``
    ``(batch,)``, for multi_label ``(batch, labels)``, -1 (NaN for regression) where unlabelled; ``idx`` ``(batch,)``.

    Args:
        task: Task to load; `glue-lit tasks` lists them. Any other name is that of a task of your own (data.custom).
        tokenizer: Hub name or folder of the tokenizer (the command takes the model's).
        source: Where the rows come from: one of `glue_lit.data.sources.SOURCES`.
        batch_size: Examples per training step and device.
        group_by_length: Put training examples of similar length into a batch, which saves padding.
        tokens_per_batch: Fill training batches with up to this many tokens, padding included, in place of batch_size
            examples. They hold texts of similar length; with padding_free and without group_by_length, of any.
        eval_batch_size: Examples per evaluation step and device; null for as many as fit into 8192 tokens.
        max_length: Longest input in tokens; longer inputs are cut. Null for the most that the model takes.
        train_limit: Train on at most this many examples, spread evenly over the split; below 1, on that share of them.
        both_orders: Train on each pair of texts in both orders, which doubles an epoch. For tasks in which the order
            means nothing, such as paraphrase and similarity.
        validation_limit: Validate on at most this many examples, spread evenly.
        test_limit: Test on at most this many examples, spread evenly.
        predict_split: What `predict` predicts: test (every test split of the task), or the name of a split, with that
            split's limit.
        num_workers: Processes that prepare batches; 0 is usually fastest, because batches take little time to make.
        cache_dir: Folder for tokenised splits; null for $GLUE_LIT_CACHE, else ~/.cache/glue-lit.
        seed: Seed of the order of training examples; null for that of seed_everything.
        revision: Branch, tag or commit of the tokenizer on the Hub.
        trust_remote_code: Run code that comes with the tokenizer. Only for authors you trust.
        custom: Columns, labels and metrics of a task of your own.
        pad_to_multiple_of: Pad batches to a multiple of this many tokens, at most to max_length: 8 may suit a GPU, and
            a compiled model sees fewer lengths. Models whose logits depend on padding are not padded so.
        shots: Train on this many examples of each label, drawn by the seed, so that the seeds of a suite are as many
            draws; null for all.
        metrics: Metrics beside the task's own, such as auroc; `glue-lit metrics` lists them. Null for none.
        padding_free: Compute the texts of a batch one after the other without padding, which saves most with
            group_by_length false. For BERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT and ModernBERT.
        windows: Make overlapping windows of long documents in place of cutting them, as in {length: 512, stride: 128}:
            windows of 512 tokens, of which neighbours share 128. Null cuts them.
        truncation: What is kept of a text that is longer than max_length: head, its start; or head_tail, its start and
            its end, as 128 and 382 of 510 tokens in Sun et al. 2019.
        length_buckets: Pad training batches to one of this many lengths, chosen so that padding is least, for CUDA
            graphs (model.compile reduce-overhead); null pads each to its longest text. Models whose logits depend on
            padding are not padded so.
        tokens_on_device: Keep the tokens of all splits on the GPU, which then cuts batches without num_workers: true,
            false, or auto, which does it where they take at most a fiftieth of the free memory.
    """

    @described
    def __init__(
        self,
        task: Annotated[str, Setting(card="never", hparams="always")] = "cola",
        tokenizer: Annotated[str, INTERNAL] = "distilbert-base-uncased",
        source: Annotated[str, Setting(None, "Data", 802, card="always")] = "hub",
        batch_size: Annotated[int, Setting(count(1), "Batch size per device", 400, "always", "always")] = 16,
        group_by_length: Annotated[bool, Setting(None, "Batches of like lengths", 401, card="always")] = True,
        tokens_per_batch: Annotated[int | None, Setting(count(1), card="never")] = None,  # shown as the batch size
        eval_batch_size: Annotated[int | None, Setting(count(1), card="never")] = None,
        max_length: Annotated[int | None, Setting(count(4), "Longest input", 806)] = None,
        train_limit: Annotated[int | float | None, Setting(ROWS_OR_SHARE, "Training rows, at most", 803)] = None,
        both_orders: Annotated[bool, Setting(None, "Pairs in both orders", 804)] = False,
        validation_limit: Annotated[int | None, Setting(count(1), "Validation rows, at most", 805)] = None,
        test_limit: Annotated[int | None, Setting(count(1), card="never")] = None,
        predict_split: Annotated[str, Setting(card="never", restored=False)] = "test",
        num_workers: Annotated[int, Setting(count(0, MOST_WORKERS), card="never", restored=False)] = 0,
        cache_dir: Annotated[str | None, INTERNAL] = None,
        seed: Annotated[int | None, Setting(None, "Seed of the order", 801, hparams="always", in_words=str)] = None,
        revision: Annotated[str, Setting(card="never", restored=False)] = "main",
        trust_remote_code: Annotated[bool, Setting(card="never", restored=False)] = False,
        custom: Annotated[CustomTask, INTERNAL] = NO_TASK,
        pad_to_multiple_of: Annotated[int, Setting(count(1), card="never")] = 1,
        shots: Annotated[int | None, Setting(count(1), "Training rows of each label", 807)] = None,
        metrics: Annotated[list[str | dict[str, Any]] | None, Setting(None, "More metrics", 808)] = None,
        padding_free: Annotated[bool, Setting(card="never", restored=False)] = False,
        windows: Annotated[Windows | None, Setting(None, "Windows of documents", 809)] = None,
        truncation: Annotated[Truncation, Setting(one_of(Truncation), "Kept of long texts", 810)] = "head",
        length_buckets: Annotated[int | None, Setting(count(1), card="never")] = None,
        tokens_on_device: Annotated[OnDevice, Setting(ALLOWED, card="never", restored=False)] = "auto",
    ) -> None:
        super().__init__()
        metrics, windows = plain(metrics), plain_windows(windows)  # type: ignore[assignment]
        self.save_hyperparameters(ignore=["custom"])
        self.splits = TaskSplits({**self.hparams, "custom": custom})
        self.save_hyperparameters({"custom": self.custom.settings() if self.custom.text_columns else None})
        check_data_settings(type(self), {**self.hparams, "custom": custom}, self.task)
        self._batches_before: dict[str, Any] | None = None
        self._resident: ResidentTokens | None = None

    @property
    def task(self) -> TaskSpec:
        """The task."""
        return self.splits.task

    @property
    def custom(self) -> CustomTask:
        """The settings of a task of your own, with all that was read from the data."""
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
        """The padding id to write into the model's configuration; ``None`` to leave the configuration as it is."""
        return self.splits.padding

    def split(self, name: str) -> Split:
        """The split called ``name``, not read yet: ``split("train").read()`` reads its rows."""
        return self.splits.split(name)

    def dataset(self, name: str, stage: str = "fit") -> TokenDataset:
        """The tokenised split called ``name``; see `TaskSplits.dataset`."""
        return self.splits.dataset(name, stage)

    def prepare_data(self) -> None:
        """Tokenise into the cache, in one process of each machine; the others read it from there."""
        if self.trainer is not None and self.trainer.state.fn is not None:
            self.splits.load(str(self.trainer.state.fn.value))

    def setup(self, stage: str) -> None:
        """Load the splits of the stage in this process."""
        self.splits.load(stage)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As in Lightning, but ``trust_remote_code`` comes from the caller, never from the file."""
        return super().load_from_checkpoint(checkpoint_path, *args, **{"trust_remote_code": False} | kwargs)

    def use_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Use the tokenizer stored in a checkpoint."""
        self.splits.use_checkpoint(checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """The tokenizer, the settings that decide which examples a training batch holds, and hashes of the rows."""
        batches = batch_settings(self.hparams, self.splits, self.trainer)
        return {"tokenizer": self._tokenizer_files, "batches": batches, "rows": self.splits.content_hashes()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the settings of the checkpoint's batches, for `check_same_batches`."""
        self._batches_before = state_dict.get("batches")

    @cached_property
    def _tokenizer_files(self) -> dict[str, Tensor]:
        return pack(self.tokenizer)

    def has_same_batches(self, trainer: Trainer) -> bool:
        """Whether training batches hold the same examples as when the checkpoint was written."""
        return not changed_settings(self._batches_before, batch_settings(self.hparams, self.splits, trainer))

    def check_same_batches(self, trainer: Trainer) -> None:
        """Refuse to resume in the middle of an epoch if its batches would now hold other examples.

        Raises:
            RunError: A setting that decides the batches has changed.
        """
        check_unchanged(self._batches_before, batch_settings(self.hparams, self.splits, trainer))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training split, in a new random order each epoch."""
        return self._loader(self.training_set(self.trainer), self.training_sampler(self.trainer))

    def training_set(self, trainer: Trainer | None) -> TokenDataset:
        """The training examples, whose batches are padded to the chosen lengths, if there are any."""
        rows, most = self.dataset("train"), self.hparams["length_buckets"]
        if most is not None and rows.batch_lengths is None and not needs_equal_lengths(self.splits.model_config):
            shapes = self.training_sampler(trainer).batch_shapes()
            rows.batch_lengths = choose_lengths(*shapes, most, int(rows.lengths.max()))
        return rows

    def training_sampler(self, trainer: Trainer | None) -> ShuffledSampler:
        """The order of the training examples in this process of a trainer."""
        rows, size, place = self.dataset("train"), self.hparams["batch_size"], rank_and_world(trainer)
        kind = {"grouped": "group_by_length", "tokens": "tokens_per_batch", "is_packed": "padding_free"}
        options = {name: self.hparams[setting] for name, setting in kind.items()}
        return ShuffledSampler(rows.lengths, size, order_seed(self.hparams), *place, **options, folder=rows.folder)

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
        splits, place, size = self.splits, rank_and_world(self.trainer), self.hparams["eval_batch_size"]
        return [
            self._loader(splits.dataset(name, "predict"), splits.evaluation_sampler(name, *place, size))
            for name in splits.names_for(stage)
        ]

    def _loader(self, dataset: TokenDataset, sampler: DistributedSampler[Any]) -> DataLoader[Batch]:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if self._resident is None:
            self._resident = keep_tokens(self.splits.loaded_stores, device, self.hparams["tokens_on_device"])
        return batch_loader(dataset, sampler, self.hparams["num_workers"], device.type, self._resident)

    def teardown(self, stage: str) -> None:
        """Release the tokens on an accelerator."""
        if self._resident is not None:
            self._resident.release()
        self._resident = None


GLUEDataModule.__doc__ = (GLUEDataModule.__doc__ or "").replace(
    "one of `glue_lit.data.sources.SOURCES`",
    f"{', '.join(source_values(is_custom=False))}. For a task of your own: {', '.join(source_values(is_custom=True))}",
)
