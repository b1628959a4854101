"""Our side, where no command of glue-lit's gives the figure; prints one JSON object.

python -m benchmarks ours evaluate --glue_dir GLUE --task qnli --rows 2000
"""

import tempfile
import time
from typing import Any

import torch
from lightning.pytorch import Trainer
from transformers import AutoConfig, AutoModel

from benchmarks.measuring import Side, answer
from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.system.hardware import fast_precision, keep_freed_memory
from glue_lit.system.library_warnings import filter_warnings, quiet_lightning


class Ours(Side):
    """Single measurements of our side."""

    def _data(self, **settings: Any) -> GLUEDataModule:
        chosen = {"source": str(self.glue_dir), "cache_dir": str(self.cache)} | settings
        return GLUEDataModule(self.task, self.model, **chosen)

    def evaluate(self) -> dict[str, Any]:
        """``Trainer.validate`` with the settings that ``glue-lit validate`` has, after a warm-up on some rows."""
        filter_warnings()
        quiet_lightning()
        keep_freed_memory()
        model = SequenceClassifier(self.task, self.model)
        trainer = Trainer(
            precision=fast_precision("auto"), logger=False, enable_progress_bar=False, enable_model_summary=False,  # type: ignore[arg-type]
            enable_checkpointing=False,
        )  # fmt: skip
        trainer.validate(model, self._data(validation_limit=64), verbose=False)
        data = self._data(validation_limit=self.rows)
        rows = sum(len(data.dataset(split)) for split in data.task.validation_splits)
        start = time.perf_counter()
        trainer.validate(model, data, verbose=False)
        return {"samples_per_second": rows / (time.perf_counter() - start)}

    def tokenise(self) -> dict[str, Any]:
        """Reading, tokenising and caching the training rows: the first time, and from the cache."""
        seconds = []
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(2):
                data = self._data(cache_dir=folder)
                data.tokenizer("warm"), data.max_length
                start = time.perf_counter()
                data.dataset("train")
                seconds.append(time.perf_counter() - start)
        return {"first": seconds[0], "cached": seconds[1]}

    def peak(self) -> dict[str, Any]:
        """The best rate of a square bf16 matrix product, in FLOP/s, over some sizes."""
        on_gpu = torch.cuda.is_available()
        wait = torch.cuda.synchronize if on_gpu else lambda: None
        best = 0.0
        for size in (4096, 8192) if on_gpu else (1024, 2048, 4096):
            a, b = (torch.randn(size, size, device="cuda" if on_gpu else "cpu").bfloat16() for _ in range(2))
            repeats = max(2, int((2e14 if on_gpu else 2e11) / (2 * size**3)))
            for timed in (False, True):
                wait()
                start = time.perf_counter()
                for _ in range(repeats):
                    a @ b
                wait()
                if timed:
                    best = max(best, repeats * 2 * size**3 / (time.perf_counter() - start))
        return {"flops_per_second": best}

    def flops(self) -> dict[str, Any]:
        """Floating-point operations that the matrix products of a training step take, for each real token.

        Forward 2 for each weight of a linear layer of the encoder and 4 x length x width for attention in each
        layer; backward twice that (Kaplan et al. 2020, section 2.1). Padding and everything else count nothing.
        """
        config = AutoConfig.from_pretrained(self.model)
        with torch.device("meta"):
            model = AutoModel.from_config(config)
        layers = next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList))
        weights = sum(m.weight.numel() for m in layers.modules() if isinstance(m, torch.nn.Linear))
        lengths = self._data(train_limit=self.rows).dataset("train").lengths.double()
        dense = 6 * weights * float(lengths.mean())
        attention = 12 * config.num_hidden_layers * config.hidden_size * float((lengths**2).mean())
        return {"flops_per_sample": dense + attention, "tokens_per_sample": float(lengths.mean())}


if __name__ == "__main__":
    answer(Ours)
