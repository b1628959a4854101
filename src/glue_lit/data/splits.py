"""`TaskSplits`: the splits of a task, found in their source, tokenised once, and cut to their limits."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from glue_lit.data.batches import TokenDataset
from glue_lit.data.both_orders import join_stores, join_tensors, swap_texts
from glue_lit.data.cache import cache_folder
from glue_lit.data.checks import check_all_labelled
from glue_lit.data.custom_task import complete_task
from glue_lit.data.finding import ExaminedSplit, Finding
from glue_lit.data.head_tail import truncation_in
from glue_lit.data.model_inputs import adapt_tokenizer, longest_input, missing_padding_id, needs_equal_lengths
from glue_lit.data.module_state import datamodule_state
from glue_lit.data.row_texts import RowTexts, read_row_texts
from glue_lit.data.rows import Places, Split
from glue_lit.data.sampling import EvaluationSampler
from glue_lit.data.shots import choose_examples
from glue_lit.data.sources import open_split, open_tables
from glue_lit.data.special_tokens import check_fixed_text, fit_to_tokenizer
from glue_lit.data.split_names import split_names
from glue_lit.data.stage_findings import Examined, find_in_stage
from glue_lit.data.token_cache import cached_tokens
from glue_lit.data.tokenizers import load_config, load_tokenizer, tokenizer_fingerprint, unpack
from glue_lit.data.tokens import TokenStore
from glue_lit.data.window_findings import find_windows
from glue_lit.data.window_settings import parse_windows, window_ends, window_length
from glue_lit.data.windows import in_windows, kept_tokens
from glue_lit.errors import DataError
from glue_lit.system.console import note
from glue_lit.tasks.custom import parse_custom_task, resolve_task


class TaskSplits:
    """The splits of a task and the tokenizer for them, without Lightning.

    Args:
        settings: The settings of a `GLUEDataModule` by name; only ``task``, ``tokenizer`` and ``source`` are needed.

    Attributes:
        task: The task's `TaskSpec`.
        custom: The completed settings of a user's own task.
        source: Where the rows come from.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.source: str = settings["source"]
        self._cache = cache_folder(settings.get("cache_dir"))
        place = (settings.get("revision", "main"), settings.get("trust_remote_code", False))
        self._tokenizer_place = (settings["tokenizer"], *place)
        self.custom = parse_custom_task(settings.get("custom"))
        if self.custom.text_columns:
            if self.custom.sep_token is None and self.custom.inputs.uses_sep:
                self.custom = fit_to_tokenizer(self.custom, *self._tokenizer_place)
            self.custom = complete_task(settings["task"], self.custom, self.source, self._cache)
        self.task = resolve_task(settings["task"], self.custom, settings.get("metrics"))
        self._settings, self._windows = settings, parse_windows(settings.get("windows"))
        self._datasets: dict[str, TokenDataset] = {}
        self._splits: dict[str, Split] = {}
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._packed_tokenizer: dict[str, Tensor] = {}  # of a checkpoint
        self._architecture: str | None = None  # configuration of the checkpoint's model, as JSON

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any], **changes: Any) -> Self:
        """Make the splits that a checkpoint's model was trained and validated on, with its own tokenizer.

        ``changes`` replace settings of the checkpoint, e.g. ``source`` if the data have moved.
        """
        splits = cls({**(checkpoint.get("datamodule_hyper_parameters") or {}), **changes})
        splits.use_checkpoint(checkpoint)
        return splits

    # ---------------------------------------------------------------- the tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer (a fast one if there is one), adapted to the model, or the checkpoint's own."""
        if self._packed_tokenizer:
            return unpack(self._packed_tokenizer, self.model_config["model_type"])
        tokenizer = load_tokenizer(*self._tokenizer_place)
        check_fixed_text(self.custom, tokenizer)
        return adapt_tokenizer(tokenizer, self.model_config)

    @cached_property
    def max_length(self) -> int:
        """Longest input in tokens: the least of what the user, the tokenizer and the model allow, or a window."""
        longest = longest_input(self.tokenizer, self.model_config, self._settings.get("max_length"))
        return window_length(self._windows, longest, self.tokenizer)

    @property
    def padding(self) -> int | None:
        """The padding id to write into the model's configuration; ``None`` to leave the configuration as it is."""
        return missing_padding_id(self.tokenizer, self.model_config)

    @property
    def model_config(self) -> dict[str, Any]:
        """The model's configuration as plain values."""
        return json.loads(self._architecture) if self._architecture else self._loaded_config

    @cached_property
    def _loaded_config(self) -> dict[str, Any]:
        return load_config(*self._tokenizer_place)

    def use_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Use the tokenizer stored in a checkpoint, so that neither the Hub nor a model folder is needed."""
        files = datamodule_state(checkpoint).get("tokenizer") or {}
        # copies, because the checkpoint's tensors keep its file mapped into memory
        self._packed_tokenizer = {name: content.clone() for name, content in files.items()}
        self._architecture = checkpoint["hyper_parameters"]["architecture"]

    # ---------------------------------------------------------------- splits

    def names_for(self, stage: str) -> tuple[str, ...]:
        """Names of the splits that a stage uses; see `split_names`."""
        return split_names(self.task, stage, self._settings.get("predict_split", "test"))

    def split(self, name: str) -> Split:
        """The split called ``name``, whose rows are not read yet."""
        if name not in self._splits:
            self._splits[name] = open_split(self.task, self.source, name, self.custom)
        return self._splits[name]

    def load(self, stage: str) -> None:
        """Read and tokenise the splits of a stage, so that bad data stop a run before it starts."""
        for name in self.names_for(stage):
            self.dataset(name, stage)

    def dataset(self, name: str, stage: str = "fit") -> TokenDataset:
        """The tokenised split called ``name``, cut to its limit; tokenised or read from the cache at first use.

        Args:
            name: Name of the split.
            stage: What it is used for: a fit may see the training pairs in both orders, other stages do not.

        Raises:
            DataError: The split is missing, or has a bad row.
            ModelError: The tokenizer is missing.
        """
        both = name == "train" and stage == "fit" and self._settings.get("both_orders", False)
        most = self._windows.train_windows if self._windows is not None and (name, stage) == ("train", "fit") else None
        key = f"{name} in both orders" if both else f"{name} in some windows" if most is not None else name
        if key not in self._datasets:
            split = self.split(name)
            store = self._tokenise(split)
            positions = choose_examples(name, store, self._settings)
            if name == "train":
                check_all_labelled(store, split)
            if both:
                positions = join_tensors(positions, positions, len(store), self._cache)
                store = join_stores(store, self._tokenise(swap_texts(split)), self._cache)
            multiple = 1 if needs_equal_lengths(self.model_config) else self._settings.get("pad_to_multiple_of", 1)
            form = (
                multiple,
                self.max_length,
                self._settings.get("padding_free", False),
                self.task.sets_of,
                self._cache,
            )
            rows = TokenDataset(store, positions, self.tokenizer, *form)
            ends = window_ends(self._windows, self.tokenizer)
            self._datasets[key] = in_windows(rows, ends, self._windows, self.max_length, most)
        return self._datasets[key]

    def _tokenise(self, split: Split) -> TokenStore:
        kept, how = kept_tokens(self._windows, self.max_length), truncation_in(self._settings)
        return cached_tokens(split, self.tokenizer, kept, self.task.is_regression, self._cache, how)

    def evaluation_sampler(
        self, name: str, rank: int = 0, world: int = 1, batch_size: int | None = None
    ) -> EvaluationSampler:
        """Batches of the split called ``name``, with each example once."""
        rows, equal = self.dataset(name, "predict"), needs_equal_lengths(self.model_config)
        return EvaluationSampler(rows.lengths, rank, world, batch_size, equal_lengths=equal, folder=rows.folder)

    # ---------------------------------------------------------------- loaded splits

    @property
    def loaded_stores(self) -> list[TokenStore]:
        """The tokens of the splits that are loaded."""
        return [dataset.store for dataset in self._datasets.values()]

    def findings(self, stage: str) -> tuple[Finding, ...]:
        """What a user may want to correct in the data of a stage, found once; a fit's test rows are read for it."""
        if stage not in self._findings:
            names, limit = self.names_for(stage), longest_input(self.tokenizer, self.model_config, None)
            parts = [ExaminedSplit.of(self.split(name), self.dataset(name, stage).store, self._cache) for name in names]
            is_own = stage == "fit" and bool(self.custom.text_columns)
            test = self.split("test") if is_own and "test" in open_tables(self.custom, self.source) else None
            examined = Examined(
                stage, parts, self.task, self.custom, test, self.max_length, self._settings.get("max_length"), limit,
                truncation_in(self._settings), tokenizer_fingerprint(self.tokenizer),
            )  # fmt: skip
            found = find_in_stage(examined, self._cache)
            windows = find_windows(parts, [self.dataset(name, stage) for name in names])
            self._findings[stage] = (*found, *windows)
        return self._findings[stage]

    @property
    def training_rows(self) -> int | None:
        """Number of training examples; ``None`` if they are not loaded."""
        return len(self.dataset("train").examples) if any(key.split()[0] == "train" for key in self._datasets) else None

    def content_hashes(self) -> dict[str, dict[str, str | None]]:
        """Hash of the rows, and their commit on the Hub, of each loaded split."""
        digests = {key.split()[0]: dataset.store.digest for key, dataset in self._datasets.items()}
        return {name: {"hash": digest, "commit": self.split(name).commit} for name, digest in digests.items()}

    def training_tokens(self) -> Tensor:
        """All tokens that occur in training batches, padding included, sorted, ``(tokens,)`` int64."""
        return self.dataset("train").tokens()

    def places(
        self, name: str, idx: Sequence[int], stage: str = "predict", rows: RowTexts | None = None
    ) -> Places | None:
        """Places of some examples of a split in the user's file; ``None`` if unknown.

        Ids are those of ``rows``, or read from the file. If it has changed since, they are left out with a note.
        """
        split, store = self.split(name), self.dataset(name, stage).store
        if store.numbers is None:
            return None
        picked = torch.as_tensor(idx, dtype=torch.int64)
        if rows is None and self.custom.id is not None:
            rows = self.row_texts(name, stage)
        all_ids = None if rows is None else rows.ids
        # modulo, because in both orders each row occurs twice
        ids = None if all_ids is None else [all_ids[at % len(all_ids)] for at in picked.tolist()]
        return Places(split.file, split.unit, store.numbers[picked].tolist(), ids)

    def row_texts(self, name: str, stage: str = "predict") -> RowTexts | None:
        """Read texts and ids of a loaded split again; ``None``, with a note, if they have changed since."""
        split = self.split(name)
        try:
            if (found := read_row_texts(split, self.dataset(name, stage).store.digest, self._cache)) is not None:
                return found
            note(f"{split.file} has changed since its rows were read: their texts and ids are left out.")
        except DataError as error:
            note(f"The texts and ids of {name} are left out: {error}")
        return None
