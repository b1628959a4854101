"""Every precision of a trainer: clipping, averaging, scores, resuming, and the checks that refuse one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.data.sources import open_split
from glue_lit.errors import DivergenceError, UsageError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.system.precisions import NAMES, check_precision
from glue_lit.tasks.glue import get_task
from glue_lit.training.averaging import EVERY
from glue_lit.training.clipping import gradient_norm
from glue_lit.training.losses import TaskLoss

# Largest relative error of a norm of gradients that are rounded to the precision of the weights.
ROUNDING = {"bf16-true": 2e-3, "16-true": 2e-3}


class Gradients(Callback):
    """Record the norm of the gradient in float64, before clipping and at the optimizer's step."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.clipped: list[float] = []

    @staticmethod
    def norm(module: nn.Module) -> float:
        gradients = [p.grad.double().flatten() for p in module.parameters() if p.grad is not None]
        return float(torch.cat(gradients).norm())

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.optimizers[0].register_step_post_hook(lambda *_: self.clipped.append(self.norm(pl_module)))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.before.append(self.norm(pl_module))


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


def trainer(precision: str, *callbacks: Callback, **options: Any) -> Trainer:
    """A trainer on the CPU, with the loss scaling of float16 that Lightning has for GPUs alone."""
    how: dict[str, Any] = {"precision": precision}
    if precision == "16-mixed":
        how = {"plugins": MixedPrecision("16-mixed", "cpu")}
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[*callbacks],
        enable_model_summary=False, num_sanity_val_steps=0, **how, **{"max_epochs": 1} | options,
    )  # fmt: skip


def fitted(tiny_model: Path, used: Trainer, task: str = "cola", **settings: Any) -> SequenceClassifier:
    data = GLUEDataModule(
        task, str(tiny_model), source="demo", train_limit=32, validation_limit=13, batch_size=4 if settings else 8
    )
    eps = {"adam_eps": 1e-4} if str(used.precision) == "16-true" else {}
    torch.manual_seed(0)
    model = SequenceClassifier(task, str(tiny_model), **{"learning_rate": 1e-3, **eps, **settings})
    used.fit(model, data)
    return model


@pytest.mark.parametrize("precision", NAMES)
@pytest.mark.parametrize("peft", [None, {"peft_type": "LORA", "r": 4}], ids=["whole", "lora"])
def test_the_gradient_is_clipped_to_its_norm(
    tiny_model: Path, precision: str, peft: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[float] = []

    def measured(parameters: Any) -> torch.Tensor:
        norm = gradient_norm(parameters)
        found.append(float(norm))
        return norm

    monkeypatch.setattr("glue_lit.training.fit_parts.gradient_norm", measured)
    gradients = Gradients()
    model = fitted(tiny_model, trainer(precision, gradients), peft=peft, max_grad_norm=0.05)
    assert len(gradients.clipped) == 8
    assert found == pytest.approx(gradients.before, rel=1e-5)  # not rounded to the precision of the weights
    assert min(gradients.before) > 0.05
    assert gradients.clipped == pytest.approx([0.05] * 8, rel=ROUNDING.get(precision, 1e-4))
    dtypes = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
    assert {p.dtype for p in model.parameters()} == {dtypes.get(precision, torch.float32)}
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_a_gradient_is_clipped_by_value(tiny_model: Path, precision: str) -> None:
    most: list[float] = []

    class Largest(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            def look(*_: Any) -> None:
                most.append(max(float(p.grad.abs().max()) for p in pl_module.parameters() if p.grad is not None))

            trainer.optimizers[0].register_step_post_hook(look)

    fitted(tiny_model, trainer(precision, Largest(), gradient_clip_val=0.001, gradient_clip_algorithm="value"))
    assert most == pytest.approx([0.001] * 4, rel=ROUNDING.get(precision, 1e-6))


def test_a_norm_beyond_float16_is_finite() -> None:
    layer = nn.Linear(100, 100).half()
    layer.weight.grad, layer.bias.grad = torch.full_like(layer.weight, 6e4), torch.zeros_like(layer.bias)
    assert float(gradient_norm(layer.parameters())) == pytest.approx(6e6, rel=1e-2)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_a_loss_that_is_not_finite_is_noticed(
    tiny_model: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = TaskLoss.forward
    monkeypatch.setattr(TaskLoss, "forward", lambda self, *args: loss(self, *args) * float("nan"))
    with pytest.raises(DivergenceError, match="Training diverged at step 0: the loss is nan"):
        fitted(tiny_model, trainer(precision))
    model = fitted(tiny_model, trainer(precision), non_finite="skip")
    assert model.parts.guard.skipped == 8


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_scores_use_labels_of_full_precision(tiny_model: Path, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Labels(Callback):
        def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
            seen.append((batch["labels"], outputs))

    model = fitted(tiny_model, trainer(precision, Labels()), task="stsb")
    (labels, logits) = (torch.cat(parts) for parts in zip(*seen, strict=True))
    assert labels.dtype == torch.float32
    assert logits.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    assert model.scores["val/loss"] == pytest.approx(float(((logits[:, 0] - labels) ** 2).mean()), rel=1e-6)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_the_average_of_weights_is_kept_in_float32(tiny_model: Path, precision: str) -> None:
    """In the precision of the weights it would never change, since its updates are too small."""
    weights: list[dict[str, torch.Tensor]] = []

    class Steps(Callback):
        average: Any = None

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            weights.append({name: p.detach().double() for name, p in pl_module.named_parameters()})

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            (averaging,) = [c for c in trainer.callbacks if type(c).__name__ == "WeightAverage"]
            self.average = {name: p.detach().clone() for name, p in averaging._average_model.module.named_parameters()}

    steps = Steps()
    model = fitted(tiny_model, trainer(precision, steps, val_check_interval=3), average=0.99)
    left, expected = 0.99**EVERY, weights[0]
    for state in weights[1:]:  # fewer than EVERY steps: an update after each
        expected = {name: left * expected[name] + (1 - left) * value for name, value in state.items()}
    for name, value in expected.items():
        if name.endswith("word_embeddings.weight"):
            continue  # the rows in use have a table of their own
        assert steps.average[name].dtype == (torch.float64 if precision == "64-true" else torch.float32)
        torch.testing.assert_close(steps.average[name].double(), value, rtol=1e-5, atol=1e-6)
    assert model.parts.guard.skipped == 0


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_training_the_rows_in_use_equals_training_the_whole_table(
    tiny_model: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = fitted(tiny_model, trainer(precision), dropout=0.0).state_dict()
    monkeypatch.setattr("glue_lit.training.optimizer.train_rows_in_use", lambda model, tokens: None)
    whole = fitted(tiny_model, trainer(precision), dropout=0.0).state_dict()
    tolerance = {"rtol": 1e-2, "atol": 1e-3} if precision == "bf16-true" else {"rtol": 1e-9, "atol": 1e-12}
    assert ours.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(ours[name], value, **tolerance)


def test_an_export_agrees_with_predictions_in_float32(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Predictions of a run in bfloat16 are computed in it; the export is in float32, for other programs."""
    monkeypatch.chdir(tmp_path)
    settings = (
        "--data.source=demo",
        "--data.train_limit=64",
        "--data.validation_limit=20",
        "--trainer.accelerator=cpu",
    )
    recipe = ("--model.learning_rate=1e-2", "--trainer.max_epochs=2", "--trainer.precision=bf16-mixed")
    assert (
        glue_lit(monkeypatch, "fit", "--data.task=sst2", f"--model.name_or_path={tiny_model}", *settings, *recipe) == 0
    )
    assert glue_lit(monkeypatch, "export", "--ckpt_path=best", "--output=exported") == 0
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained("exported").eval()
    tokenizer = AutoTokenizer.from_pretrained("exported")
    labels = [model.config.id2label[number] for number in range(2)]

    def exported(texts: list[str]) -> list[list[float]]:
        with torch.inference_mode():
            logits = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits
        return logits.softmax(dim=1).tolist()  # type: ignore[no-any-return]

    def of_split(*flags: str) -> list[list[float]]:
        split = (
            "predict",
            "--ckpt_path=best",
            "--data.predict_split=validation",
            "--data.validation_limit=null",
            *flags,
        )
        assert glue_lit(monkeypatch, *split) == 0
        lines = Path("lightning_logs/sst2/version_0/predictions/validation.jsonl").read_text().splitlines()
        return [[json.loads(line)["probabilities"][name] for name in labels] for line in lines]

    def of_text(*flags: str) -> list[float]:
        capsys.readouterr()
        assert glue_lit(monkeypatch, "predict", "--text=a fine room", "--json", "--ckpt_path=best", *flags) == 0
        found = json.loads(capsys.readouterr().out)
        return [found["probabilities"][name] for name in labels]

    rows = open_split(get_task("sst2"), "demo", "validation").read()
    theirs = exported(list(rows.texts_a))
    in_bfloat16, in_float32 = (torch.tensor(of_split(*flags)) for flags in ((), ("--trainer.precision=32-true",)))
    expected = torch.tensor(theirs)[: len(in_float32)]
    torch.testing.assert_close(in_float32, expected, atol=2e-6, rtol=0)
    assert 2e-5 < float((in_bfloat16 - expected).abs().max()) < 2e-2
    assert of_text("--trainer.precision=32-true") == pytest.approx(exported(["a fine room"])[0], abs=2e-6)
    assert of_text() != pytest.approx(exported(["a fine room"])[0], abs=2e-6)


# ---------------------------------------------------------------- refused precisions


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trainer.precision=transformer-engine"], "trainer.precision: got transformer-engine, which replaces"),
        (["--trainer.precision=transformer-engine-float16"], "trainer.precision: got transformer-engine-float16, "),
        (["--trainer.precision=16-mixed"], "trainer.precision: got 16-mixed, which needs a GPU to train"),
        (["--trainer.precision=16"], "trainer.precision: got 16-mixed, which needs a GPU to train"),
        (["--trainer.precision=16-true"], "model.adam_eps: got 1e-08, allowed with trainer.precision 16-true: 1e-05"),
    ],
)
def test_precisions_that_cannot_train_are_refused_before_data_are_read(
    tiny_model: Path, flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)

    def read(*_: Any) -> None:
        pytest.fail("data are read")

    monkeypatch.setattr(GLUEDataModule, "setup", read)
    arguments = ("--data.task=cola", "--data.source=demo", f"--model.name_or_path={tiny_model}")
    assert glue_lit(monkeypatch, "fit", *arguments, "--trainer.accelerator=cpu", *flags) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_float16_with_too_small_an_epsilon_is_refused_from_python(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"Pass `--model\.adam_eps 1e-4`"):
        fitted(tiny_model, trainer("16-true"), adam_eps=1e-8)


@pytest.mark.parametrize("precision", [*NAMES, None, 64, 32, "bf16"])
def test_an_evaluation_accepts_the_precision_of_a_gpu(precision: Any) -> None:
    check_precision(precision, "cpu", is_fit=False)


def test_mps_has_no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("mps"))
    with pytest.raises(UsageError, match="got 64-true, which MPS does not have"):
        check_precision("64", "auto", is_fit=True)
    check_precision("64", "cpu", is_fit=True)
    check_precision("16-mixed", "auto", is_fit=True)


@pytest.mark.parametrize("wanted", [None, "highest", "high"])
def test_the_precision_of_matrix_products_is_that_of_torch_or_the_one_asked_for(
    wanted: str | None, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = torch.get_float32_matmul_precision()
    asked = [] if wanted is None else [f"--model.matmul_precision={wanted}"]
    try:
        assert before == "highest"
        command = ("fit", "--data.task=cola", "--data.source=demo", f"--model.name_or_path={tiny_model}",
                   "--data.train_limit=8", "--data.validation_limit=8", "--trainer.max_epochs=1",
                   "--trainer.accelerator=cpu")  # fmt: skip
        assert glue_lit(monkeypatch, *command, *asked) == 0
        assert torch.get_float32_matmul_precision() == (wanted or "highest")
    finally:
        torch.set_float32_matmul_precision(before)


def test_another_precision_of_matrix_products_is_refused(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"model.matmul_precision: got tf32, allowed: highest, high, medium"):
        SequenceClassifier(task="cola", name_or_path=str(tiny_model), matmul_precision="tf32")  # type: ignore[arg-type]
