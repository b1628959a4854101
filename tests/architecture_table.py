"""Every architecture through every step, from its training to ONNX: what works, and what is said where it does not.

``python tests/architecture_table.py [KIND ...]`` tries some architectures, or all, and writes what it finds into
``tests/architectures.json``, which `test_architecture_table.py` compares with; ``--write docs/architectures.md``
writes the page for users from it.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint
from tiny_folders import LEFT_OUT, architectures, write_tiny
from torch import Tensor

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.data.rows import Rows
from glue_lit.encoder import pretrained
from glue_lit.errors import GlueLitError
from glue_lit.outputs.hugging_face import Trained, load_trained, write_model
from glue_lit.outputs.predictor import Predictor

FOUND = Path(__file__).with_name("architectures.json")
WORKS, NONE, NOT_REACHED, NOT_TRIED = "works", "none", "not reached", "not tried"
_SEED = 7
_ROWS = (("a", "no"), ("the men go home", "they sleep"), ("it is so", "it is so or not"), ("we saw it", "we"))
_CUT = 7  # batches after which a checkpoint is written: within the second epoch of five


class _Save(Checkpoint):
    """Keep the weights that a fit begins with, and write a checkpoint after some batch."""

    def __init__(self, path: Path) -> None:
        self.path, self.batches = path, 0
        self.start: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.start = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.batches += 1
        if self.batches == _CUT:
            trainer.save_checkpoint(self.path)


class Trial:
    """An architecture on its way through the steps; each step takes what those before have left."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.source = folder / "model"
        write_tiny(kind, self.source)

    def _parts(self, **settings: Any) -> tuple[SequenceClassifier, GLUEDataModule]:
        data = GLUEDataModule(
            task="mrpc", source="demo", tokenizer=str(self.source), batch_size=4, train_limit=18, validation_limit=10,
            num_workers=0, max_length=48, cache_dir=str(self.folder / "cache"),
        )  # fmt: skip
        return SequenceClassifier(task="mrpc", name_or_path=str(self.source), learning_rate=1e-3, **settings), data

    def _fit(
        self, name: str, epochs: int = 2, precision: str = "32-true", resume: Path | None = None, **settings: Any
    ) -> tuple[SequenceClassifier, GLUEDataModule, Trainer]:
        """Train, and leave ``NAME.ckpt`` and, of a second epoch, ``NAME-cut.ckpt``."""
        torch.manual_seed(_SEED)
        os.environ["PL_GLOBAL_SEED"] = str(_SEED)
        model, data = self._parts(**settings)
        trainer = _trainer(max_epochs=epochs, precision=precision, callbacks=[_Save(self.folder / f"{name}-cut.ckpt")])
        trainer.fit(model, data, ckpt_path=resume, weights_only=True)
        trainer.save_checkpoint(self.folder / f"{name}.ckpt")
        assert all(p.isfinite().all() for p in model.parameters()), "weights that are no numbers"
        return model, data, trainer

    def _resumes(self, name: str, **settings: Any) -> None:
        cut = self.folder / f"{name}-cut.ckpt"
        model, _, _ = self._fit(f"{name}-resumed", resume=cut, **settings)
        whole = torch.load(self.folder / f"{name}.ckpt", weights_only=True)["state_dict"]
        own = model.state_dict()
        assert all(torch.equal(own[name], whole[name]) for name in whole), "weights are others after a resume"

    # ---------------------------------------------------------------- the steps

    def fit(self) -> str:
        model, data, self.trainer = self._fit("plain")
        self.scores = dict(model.scores)
        self.model = model
        self.batch = next(iter(data.train_dataloader()))
        return WORKS

    def segments(self) -> str:
        config = self.model.model.config
        takes = "token_type_ids" in self.model.accepted and (getattr(config, "type_vocab_size", 0) or 0) > 1
        given = self.batch.get("token_type_ids") if takes else None
        if not takes:
            return NONE
        assert given is not None, "the model takes segments of pairs and is given none"
        assert given.max() == 1, "the model takes segments of pairs, and all are 0"
        return WORKS

    def bf16(self) -> str:
        self._fit("bf16", epochs=1, precision="bf16-mixed")
        return WORKS

    def validate(self) -> str:
        model, data = self._parts()
        _trainer().validate(model, data, ckpt_path=self.folder / "plain.ckpt", weights_only=True, verbose=False)
        assert model.scores == self.scores, "the scores are others than at the end of the fit"
        return WORKS

    def resume(self) -> str:
        self._resumes("plain")
        return WORKS

    def predict(self) -> str:
        together, alone = self._predicted("plain")
        assert (alone.max(0).values - alone.min(0).values).max() > 1e-5, "every text has the same output"
        difference = float((together - alone).abs().max())
        assert difference < 1e-5, "scores depend on what a text is padded to"
        return WORKS

    def _predicted(self, name: str) -> tuple[Tensor, Tensor]:
        predictor = Predictor(self.folder / f"{name}.ckpt")
        given = [Rows([a], [b], [None]) for a, b in _ROWS]
        whole = Rows([a for a, _ in _ROWS], [b for _, b in _ROWS], [None] * len(_ROWS))
        found = [logits for logits, _ in predictor.logits((rows, None) for rows in (whole, *given))]
        return found[0], torch.cat(found[1:])

    def _exports(self, name: str) -> Trained:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        trained = load_trained(self.folder / f"{name}.ckpt", None)
        folder = self.folder / f"{name}-export"
        write_model(trained, folder)
        with pretrained.quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.inference_mode():
            logits = [theirs(**tokenizer(*row, truncation=True, return_tensors="pt")).logits for row in _ROWS]
        difference = float((torch.cat(logits) - self._predicted(name)[1]).abs().max())
        assert difference < 1e-5, "transformers gives other scores for the export"
        return trained

    def export(self) -> str:
        self.trained = self._exports("plain")
        return WORKS

    def onnx(self) -> str:
        from glue_lit.outputs.onnx_export import write_onnx

        assert write_onnx(self.trained, self.folder / "model.onnx") < 1e-4
        return WORKS

    def lora(self) -> str:
        from peft import LoraConfig

        self._fit("lora", peft=LoraConfig(r=2))
        self._resumes("lora", peft=LoraConfig(r=2))
        self._exports("lora")
        return WORKS

    def freeze(self) -> str:
        model, _, trainer = self._fit("frozen", epochs=1, freeze=1)
        (save,) = (callback for callback in trainer.callbacks if isinstance(callback, _Save))
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, save.start[name])}
        assert frozen, "nothing is frozen"
        assert moved, "nothing is trained"
        assert not frozen & moved, "what is frozen has moved"
        return WORKS

    def layer_decay(self) -> str:
        _, _, trainer = self._fit("decayed", epochs=1, layer_decay=0.5)
        rates = {group["lr_scale"] for group in trainer.optimizers[0].param_groups if "lr_scale" in group}
        assert len(rates) >= 3, f"the rates are only {sorted(rates)}"
        return WORKS


def _trainer(**settings: Any) -> Trainer:
    own: dict[str, Any] = {"precision": "32-true"} | settings
    return Trainer(
        accelerator="cpu", logger=False, num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False,
        **own,
    )  # fmt: skip


STEPS = (
    "fit", "segments", "bf16", "validate", "resume", "predict", "export", "lora", "freeze", "layer_decay", "onnx",
)  # fmt: skip
_NEEDS = {"segments": "fit", "validate": "fit", "resume": "fit", "predict": "fit", "export": "fit", "onnx": "export"}


def examine(kind: str, folder: Path, steps: Sequence[str] = STEPS) -> dict[str, str]:
    """What each step comes to: that it works, or why not."""
    found: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = Trial(kind, folder)
        for step in steps:
            before = found.get(_NEEDS.get(step, ""), WORKS)
            found[step] = _outcome(getattr(trial, step), folder) if before == WORKS else NOT_REACHED
    return found


def _outcome(step: Callable[[], str], folder: Path) -> str:
    try:
        return step()
    except GlueLitError as error:
        return f"refused: {_plain(error, folder)}"
    except AssertionError as error:
        return f"differs: {_plain(error, folder)}"
    except Exception as error:  # what the table is there to find
        if os.environ.get("GLUE_LIT_DEBUG"):
            raise
        return f"crashes: {type(error).__name__}: {_plain(error, folder)}"


def _plain(error: Exception, folder: Path) -> str:
    return " ".join(str(error).replace(str(folder), "FOLDER").split())[:400]


def main() -> None:
    """Try architectures, or write the page."""
    from glue_lit.system.library_warnings import filter_warnings, quiet_lightning

    filter_warnings()
    quiet_lightning()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="as configurations have it in model_type; all if none")
    parser.add_argument("--steps", default=",".join(STEPS), help="with those that they need; the others stay as found")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the page in place of trying")
    options = parser.parse_args()
    if options.write is not None:
        options.write.write_text(page(read()), encoding="utf-8")
        return
    for kind in options.kinds or architectures():
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = examine(kind, Path(folder), options.steps.split(","))
        record = read()
        record[kind] = record.get(kind, {}) | found
        text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False)
        FOUND.write_text(text + "\n", encoding="utf-8")
        said = [f"    {step}: {text}" for step, text in found.items() if text not in (WORKS, NONE, NOT_REACHED)]
        print(f"{kind} ({time.monotonic() - start:.0f} s)", *said, sep="\n", flush=True)


def read() -> dict[str, dict[str, str]]:
    """What was found: by architecture and step."""
    found: dict[str, dict[str, str]] = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.is_file() else {}
    return found


# ---------------------------------------------------------------- the page

_HEADINGS = {
    "fit": "fit", "segments": "segments", "bf16": "bfloat16", "validate": "validate",
    "resume": "resume", "predict": "predict", "export": "export", "lora": "LoRA", "freeze": "freeze",
    "layer_decay": "layer decay", "onnx": "ONNX",
}  # fmt: skip
_INTRODUCTION = """# Architectures
`model.name_or_path` takes a model of any architecture that transformers has for `AutoModelForSequenceClassification`. The
table lists all of them, by the `model_type` of their `config.json`. Each was tried on a processor with pairs of texts, with
a tiny random model and a matching tokenizer:

| column | what was tried, and had to hold |
|---|---|
| fit | two epochs in float32 |
| segments | the model is told which text of a pair each token belongs to (empty: it does not take that) |
| bfloat16 | an epoch in `bf16-mixed` |
| validate | from the checkpoint come the scores that the fit ended with |
| resume | a fit that is resumed in its second epoch ends with the same weights as an uninterrupted one, bit by bit |
| predict | a text has the same logits alone and among others, to 1e-5, and not all texts have the same logits |
| export | transformers computes the same logits from the export, to 1e-5 |
| LoRA | fit, resume and export, as above, with `peft.LoraConfig` |
| freeze | `model.freeze 1` leaves some weights as they are, and trains others |
| layer decay | `model.layer_decay 0.5` trains with at least three learning rates |
| ONNX | `export --format onnx` gives the same logits as PyTorch, to 1e-4 |

Every "no" has its note below the table, where KIND stands for the name of the architecture. "Refused" means that the
command stops with this message before it trains anything, and before it writes a run directory or an export. Where the
message says that a model's own code stopped, that happened in the first batch, after the run directory was written. "-"
marks a step that needs an earlier one that does not work.

Models of pages and images (LayoutLM, MarkupLM, TAPAS, Gemma 3, ModernVBERT ...) were given texts alone.
"""


def page(found: dict[str, dict[str, str]]) -> str:
    """The page for users: a table of architectures and steps, and in plain words what does not work."""
    notes: dict[str, int] = {}
    rows = []
    for kind in sorted(found):
        cells = [_cell(kind, found[kind][step], notes) for step in _HEADINGS]
        rows.append(f"| `{kind}` | {' | '.join(cells)} |")
    whole = sum(" no " not in row and " ? " not in row for row in rows)
    but_onnx = sum(" no " not in row.rstrip("| ").rpartition("|")[0] for row in rows)
    untried = any(NOT_TRIED in outcomes.values() for outcomes in found.values())
    lines = [
        _INTRODUCTION + ('What has not been tried yet has "?".\n' if untried else ""),
        f"Of {len(rows)} architectures, {whole} pass every step, and {but_onnx} every step but ONNX.",
        "",
        f"| architecture | {' | '.join(_HEADINGS.values())} |",
        f"|---{'|---' * len(_HEADINGS)}|",
        *rows,
        "",
        "## Notes",
        *(f"{number}. {_in_markdown(text)}" for text, number in notes.items()),
        "",
        "## Not tried",
        *(f"- `{kind}` {why}." for kind, why in sorted(LEFT_OUT.items())),
        "",
        "`python tests/architecture_table.py` writes this page's figures; `make slow` compares them with what happens.",
    ]
    return "\n".join(lines) + "\n"


def _cell(kind: str, outcome: str, notes: dict[str, int]) -> str:
    plain = {WORKS: "yes", NONE: "", NOT_REACHED: "-", NOT_TRIED: "?"}
    if outcome in plain:
        return plain[outcome]
    text = re.sub(rf"(architecture |got a |a ){re.escape(kind)}\b", r"\1KIND", KNOWN.get(outcome, outcome))
    return f"no ({notes.setdefault(text, len(notes) + 1)})"


def _in_markdown(text: str) -> str:
    text = text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")
    return re.sub(r"([<|_*])", r"\\\1", text)


# What a difference is due to, where that is known.
KNOWN = {
    "differs: the model takes segments of pairs, and all are 0": "Its tokenizer in transformers gives both texts of a "
    "pair the same type.",
}


if __name__ == "__main__":
    sys.exit(main())
