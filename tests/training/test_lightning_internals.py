"""The private parts of Lightning that we use exist and do what we need; nothing else uses any."""

import ast
import importlib
import inspect
import pkgutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning.pytorch.callbacks as lightning_callbacks
import pytest
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, ModelSummary
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from small_fit import Fit

import glue_lit.training
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training import lightning_internals as internals
from glue_lit.training.lightning_internals.loops import ScoringEpochLoop, ScoringFitLoop


class Seen(Callback):
    """Results of the functions at each batch of a fit."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, bool, bool, bool, bool]] = []
        self.content: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self.batches:
            assert type(trainer.fit_loop) is ScoringFitLoop
            assert type(trainer.fit_loop.epoch_loop) is ScoringEpochLoop
            internals.skip_sigterm_exchange(trainer)
            internals.refetch_batches(trainer)
            internals.forget_restart(trainer)
            internals.restore_logged(trainer, {"earlier": 0.5})
            assert trainer.callback_metrics["earlier"] == 0.5
            assert internals.trainer_of(pl_module) is trainer

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.batches.append(
            (
                internals.begun_steps(trainer),
                internals.completes_step(trainer),
                internals.is_epoch_complete(trainer),
                internals.is_validation_due(trainer),
                internals.is_log_step(trainer),
            )
        )
        if len(self.batches) == 5:
            self.content = internals.checkpoint_content(trainer)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Seen:
    filter_warnings()
    seen = Seen()
    settings: dict[str, Any] = {"accumulate_grad_batches": 2, "max_epochs": 1}
    fit = Fit(tmp_path_factory.mktemp("run"), tiny_model, seen, **settings)
    fit.trainer.log_every_n_steps = 3  # type: ignore[attr-defined]
    fit.run()
    return seen


def test_the_loops_of_a_fit_give_its_position(seen: Seen) -> None:
    begun, completes, is_epoch_complete, is_validation_due, is_log_step = zip(*seen.batches, strict=True)
    assert begun == (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)  # 10 batches of 2 a step
    assert completes == (False, True) * 5
    assert is_epoch_complete == is_validation_due == (False,) * 9 + (True,)
    assert [number for number, is_log in enumerate(is_log_step) if is_log] == [4, 5]  # the third of 5 steps


def test_a_checkpoint_has_the_state_of_the_loops(seen: Seen) -> None:
    loops = seen.content["loops"]["fit_loop"]
    assert {"epoch_progress", "epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress"} <= loops.keys()
    assert loops["epoch_loop.state_dict"]["_batches_that_stepped"] == 1  # resuming counts the second
    assert loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["current"]["completed"] == 2
    for counts in (loops["epoch_progress"], loops["epoch_loop.batch_progress"]):
        for part in ("total", "current"):
            assert counts[part].keys() == {"ready", "started", "processed", "completed"}


def test_a_module_has_no_trainer_at_first() -> None:
    assert internals.trainer_of(LightningModule()) is None


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (_FitLoop, ["done", "run", "setup_data", "_should_accumulate", "_can_stop_early", "on_advance_end"]),
        (_TrainingEpochLoop, ["done", "on_advance_end", "_should_check_val_fx", "_num_ready_batches_reached"]),
        (_TrainingEpochLoop, ["_should_accumulate", "_broadcast_sigterm_tensor", "global_step"]),
        (_CheckpointConnector, ["restore_model", "restore_callbacks", "restore_training_state", "dump_checkpoint"]),
    ],
)
def test_lightnings_classes_have_what_ours_replace_or_call(owner: type, names: list[str]) -> None:
    assert not [name for name in names if not hasattr(owner, name)]


def test_an_error_of_restoring_is_distinguished_from_others() -> None:
    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

    connector = _CheckpointConnector(Odd())  # type: ignore[arg-type]
    connector._loaded_checkpoint = {"state_dict": {}}
    with pytest.raises(KeyError) as caught:
        connector.restore_model()
    assert internals.is_raised_by_restoring(caught.value)
    with pytest.raises(KeyError) as caught:
        {}["missing"]
    assert not internals.is_raised_by_restoring(caught.value)


def test_options_of_the_strategy_can_be_changed() -> None:
    strategy = DDPStrategy(find_unused_parameters=False)
    assert internals.ddp_options(strategy) == {"find_unused_parameters": False}
    assert internals.ddp_options(strategy) is strategy._ddp_kwargs


def test_mixed_precision_can_be_replaced(tmp_path: Path, tiny_model: Path) -> None:
    trainer = Fit(tmp_path, tiny_model, precision="bf16-mixed").trainer
    internals.compute_in_float32(trainer)
    assert type(trainer.precision_plugin) is Precision
    assert trainer.precision == "32-true"


def test_the_observer_of_child_processes_observes_none() -> None:
    is_over = threading.Event()

    class Child:
        def poll(self) -> int | None:
            return None

    class Observer(_ChildProcessObserver):
        def run(self) -> None:
            is_over.wait()

    observer = Observer(main_pid=1, child_processes=[Child()])  # type: ignore[list-item]
    assert observer.name == "child-process-observer"
    assert observer._child_processes
    observer.start()
    internals.quiet_child_observer()
    is_over.set()
    observer.join()
    assert observer._child_processes == []


@pytest.mark.parametrize("kind", [LearningRateFinder, BatchSizeFinder])
def test_a_finder_of_the_tuner_is_recognised(kind: type) -> None:
    finder = kind()
    assert not internals.is_run_by_tuner(finder)
    assert "_early_exit" in vars(finder)
    finder._early_exit = True
    assert internals.is_run_by_tuner(finder)


def test_the_settings_of_a_summary_are_read() -> None:
    assert internals.summary_settings(ModelSummary(max_depth=3, header=1)) == {"max_depth": 3, "header": 1}


def test_lightnings_classes_call_what_ours_override() -> None:
    for ours in (internals.ThrottledBar, internals.VersionedLogger):
        (private,) = {"_should_update", "_get_next_version"} & set(vars(ours))
        assert any(private in vars(base) for base in ours.__mro__[1:]), (
            f"{private} of {ours.__name__} overrides nothing"
        )
    average = lightning_callbacks.WeightAveraging()
    assert {"_device", "_kwargs", "_average_model"} <= vars(average).keys()


# ---------------------------------------------------------------- nowhere else


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(glue_lit.training.__path__, "glue_lit.training."):
        yield importlib.import_module(found.name)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(kind: type) -> set[str]:
    """Underscored attributes of a class's bases in Lightning."""
    names: set[str] = set()
    for base in kind.__mro__[1:]:
        if base.__module__.startswith("lightning."):
            names |= {name for name in vars(base) if is_private(name)}
            source = inspect.getsource(base)
            names |= {
                node.attr
                for node in ast.walk(ast.parse(inspect.cleandoc("\n" + source)))
                if isinstance(node, ast.Attribute) and is_private(node.attr) and isinstance(node.ctx, ast.Store)
            }
    return names


def test_no_other_module_overrides_or_reads_what_is_private() -> None:
    found = []
    for module in modules():
        if module.__name__.startswith(internals.__name__):
            continue
        tree = ast.parse(inspect.getsource(module))
        for kind in [value for value in vars(module).values() if inspect.isclass(value)]:
            if kind.__module__ == module.__name__:
                names = private_names(kind) & set(vars(kind)) - {"_abc_impl"}
                found += [f"{kind.__name__} in {module.__name__} overrides {name}" for name in sorted(names)]
        reads = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr)]
        reads = [node for node in reads if ast.unparse(node.value) not in ("self", "cls", "super()", "os")]
        found += [f"{module.__name__}:{node.lineno} reads {ast.unparse(node)}" for node in reads]
    assert found == []
