"""Check the settings of a command, and complete them from runs, data and the machine."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from glue_lit.cli.trainer_checks import check_name, check_trainer
from glue_lit.data.cache import cache_folder
from glue_lit.data.checks import check_balance
from glue_lit.data.custom_task import complete_task
from glue_lit.data.special_tokens import fit_to_tokenizer
from glue_lit.encoder.frozen_weights import check_frozen_dtype
from glue_lit.encoder.quantization import check_quantized_precision
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.checkpoints import read_checkpoint, verify_checksums
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_paths import NO_PATHS, PATHS
from glue_lit.runs.config_values import mark_texts
from glue_lit.runs.run import best_checkpoint
from glue_lit.system.environment import local_rank
from glue_lit.system.hardware import fast_precision
from glue_lit.system.precisions import check_eps, check_precision, precision_name
from glue_lit.tasks.custom import CustomTask, parse_custom_task, resolve_task
from glue_lit.tasks.glue import logged_names
from glue_lit.training.batch_parts import check_splitting
from glue_lit.training.chosen_optimizer import check_optimizer, plain_optimizer
from glue_lit.training.padding_free import check_combines
from glue_lit.training.refused_callbacks import as_list


@dataclass(frozen=True)
class Completed:
    """What `complete_settings` has read or chosen.

    Attributes:
        origin: Content of the checkpoint whose encoder a new fit starts from.
        chooses_precision: Whether the precision was chosen here, since the user named none.
    """

    origin: dict[str, Any] | None
    chooses_precision: bool


def complete_settings(config: Any, line: CommandLine) -> Completed:
    """Check the settings of a command and complete them, wherever they were given.

    Folders become absolute paths, so that the run can be used from any directory.

    Args:
        config: The parsed settings, changed in place.
        line: The command line that they come from.

    Raises:
        GlueLitError: A setting is out of range or contradicts another, or a run, a file or data cannot be used.
    """
    is_fit, checkpoint = line.command == "fit", config.get("ckpt_path")
    check_name(config["name"])
    check_trainer(config["trainer"], is_fit)
    _gather_checkpoints(config, line)
    check_precision(config["trainer.precision"], config["trainer.accelerator"], is_fit)
    is_new_fit = is_fit and not checkpoint
    chooses_precision = config["trainer.precision"] is None and not config.get("trainer.plugins")
    if chooses_precision:
        # A run whose files name no precision was trained in the Trainer's own default.
        config["trainer.precision"] = fast_precision(config["trainer.accelerator"]) if is_new_fit else "32-true"
    if is_fit:
        _check_model(config)
    for key in PATHS:
        if config[key] not in (*NO_PATHS, None) and (path := Path(config[key]).expanduser()).exists():
            config[key] = str(path.resolve())
    origin = _start_from_run(config, line) if config["model.init_from"] is not None and is_new_fit else None
    custom = _complete_custom_task(config, is_new_fit)
    if checkpoint and not Path(checkpoint).is_file():
        raise UsageError(
            f"ckpt_path: there is no file {str(Path(checkpoint))!r}. Pass `--ckpt_path best` on the command line."
        )
    if is_fit:
        _complete_mlflow(config["trainer.logger"])
    names = logged_names(resolve_task(config["data.task"], custom, config["data.metrics"]))
    if is_fit:
        _check_monitor(config["checkpoint.monitor"], names)
    return Completed(origin, chooses_precision)


def _check_model(config: Any) -> None:
    """Check the settings of the model that depend on the trainer's."""
    precision, model = precision_name(config["trainer.precision"]), config["model"].as_dict()
    check_eps(precision, model["adam_eps"])
    check_optimizer(model | {"optimizer": plain_optimizer(model["optimizer"])}, precision)
    if config["trainer.precision"] is not None:  # else a plugin decides, and the fit checks it
        check_frozen_dtype(model["dtype"], precision)
        check_quantized_precision(model["quantization"], precision)
    if model["split_batches"]:
        check_splitting(precision, config["trainer.accelerator"])
    check_combines(config["data.padding_free"], model)


def _start_from_run(config: Any, line: CommandLine) -> dict[str, Any]:
    """Take model and tokenizer from the run whose encoder the fit starts from; returns its best checkpoint."""
    file = best_checkpoint(config["model.init_from"])
    saved = read_checkpoint(file)
    if local_rank() == 0:
        verify_checksums(file)
    name = saved["hyper_parameters"]["name_or_path"]
    asked = line.setting("model.name_or_path")
    if asked is not None and config["model.name_or_path"] != name:
        raise UsageError(
            f"model.init_from: {config['model.init_from']} is a run of {name}, not of {asked}. Leave "
            f"{line.where_set('model.name_or_path')} out, or pass `--model.name_or_path {name}`: model "
            "and tokenizer are those of the run."
        )
    config["model.name_or_path"] = config["data.tokenizer"] = name
    return saved


def _gather_checkpoints(config: Any, line: CommandLine) -> None:
    """Let Lightning's strategy for parts of a model write whole checkpoints."""
    name, below = "save_distributed_checkpoint", "trainer.strategy"
    if not config.get(f"{below}.init_args.{name}"):
        return
    for key in (f"{below}.init_args.{name}", f"{below}.{name}"):
        if (place := line.where_set(key)) != key:
            raise UsageError(
                f"{place}: got true, which writes a folder for each checkpoint, and no command reads one. Leave it out."
            )
    config[f"{below}.init_args.{name}"] = False


def _complete_custom_task(config: Any, is_new_fit: bool) -> CustomTask:
    """Complete a task of the user's own from its data, and for a new fit from its tokenizer."""
    custom = parse_custom_task(config["data.custom"].as_dict())
    if custom.text_columns:
        check_balance(config["data.shots"], custom)
        if is_new_fit or (custom.sep_token is None and custom.inputs.uses_sep):
            place = (config[f"model.{key}"] for key in ("name_or_path", "revision", "trust_remote_code"))
            custom = fit_to_tokenizer(custom, *place)
        custom = complete_task(
            config["data.task"], custom, config["data.source"], cache_folder(config["data.cache_dir"])
        )
        config["model.custom"] = mark_texts(custom.settings_of_model())
        config["data.custom"] = Namespace(custom.settings())  # type: ignore[no-untyped-call]
    return custom


def _complete_mlflow(loggers: Any) -> None:
    """Let an MLFlowLogger that names no place write where MLflow does; MLflow refuses Lightning's own default.

    Raises:
        UsageError: It names a folder, and this version of MLflow writes into databases only.
    """
    for logger in as_list(loggers):
        if not str(getattr(logger, "class_path", "")).endswith(".MLFlowLogger") or find_spec("mlflow") is None:
            continue
        settings = logger.init_args
        if settings.tracking_uri:
            continue
        if settings.save_dir == "./mlruns":  # Lightning's default
            settings.tracking_uri = import_module("mlflow").get_tracking_uri()
        elif _refuses_folders():
            raise UsageError(
                f"trainer.logger: MLFlowLogger got save_dir {settings.save_dir}, and this MLflow writes no folders of "
                f"files. Give it `tracking_uri: sqlite:///{settings.save_dir}/mlflow.db` in its place, or set "
                "$MLFLOW_ALLOW_FILE_STORE to true."
            )


def _refuses_folders() -> bool:
    """Whether MLflow, since version 3, refuses to write folders."""
    with suppress(ImportError):
        allowed = getattr(import_module("mlflow.environment_variables"), "MLFLOW_ALLOW_FILE_STORE", None)
        return allowed is not None and not allowed.get()
    return False


def _check_monitor(monitor: str | None, names: Sequence[str]) -> None:
    if monitor is not None and monitor not in names:
        raise UsageError(
            f"checkpoint.monitor: {monitor!r} is not logged.{did_you_mean(monitor, names)} Allowed: {', '.join(names)}."
        )
