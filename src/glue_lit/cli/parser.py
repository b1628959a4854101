"""The parser of the trainer's commands: which settings there are, and which of them are linked."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

import yaml
from jsonargparse import get_loader, set_dumper, set_loader
from jsonargparse.typing import PositiveInt, register_type
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from glue_lit.cli.class_errors import explain_refused_settings
from glue_lit.cli.class_names import name_class_in_full, name_classes_in_full
from glue_lit.cli.lists import join_lists
from glue_lit.cli.parse_errors import explain
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.window_settings import plain_windows
from glue_lit.errors import UsageError
from glue_lit.runs.command_line import Argument, CommandLine, arguments_of
from glue_lit.runs.config_paths import paths_beside
from glue_lit.runs.config_values import (
    CUSTOM_TEXTS,
    FORMER_NAMES,
    NULLS,
    Text,
    dump_config,
    mark_texts,
    rename_settings,
    tag_texts,
    texts_in_list,
    to_flag,
)
from glue_lit.system.environment import setting_variable
from glue_lit.tasks.custom import parse_custom_task
from glue_lit.training.callbacks.checkpoints import BestCheckpoint
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.loss_choice import LossName, loss_name_text, parse_loss_name

# Differences from lightning.Trainer's own defaults: the notebook's five epochs, and less output.
TRAINER_DEFAULTS = {
    "max_epochs": 5,
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,  # all data are read and tokenised before training starts
    "enable_model_summary": False,
}
# In place of Lightning's texts, which name other defaults and strategies.
_TRAINER_HELP = {
    "trainer.strategy": "How devices share the work: auto; ddp or one of its variants, each with the whole model; "
    "fsdp2, each with a part of it.",
    "trainer.precision": "Precision, such as 32-true, bf16-mixed, 16-mixed or bf16-true; null for that of the run, and "
    "in a new fit for bf16-mixed where the device has instructions for bfloat16, else 32-true.",
    "trainer.max_epochs": "Stop after this many epochs; -1 for no limit, which needs max_steps.",
}


def load_settings(text: str) -> Any:
    """Read values as jsonargparse does, except those of keys that hold texts, which stay as they are written."""
    read = get_loader("yaml")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return read(text)
    is_renamed, paths = [rename_settings(root), name_classes_in_full(root)], tag_texts(root)
    if not paths and not any(is_renamed):
        return read(text)
    values = read(yaml.serialize(root, allow_unicode=True))
    if not isinstance(values, dict):  # `{a}` is a text to jsonargparse
        return read(text)
    for *sections, key in (path for path, is_custom in paths if is_custom):
        inner = values
        for section in sections:
            inner = inner[section]
        found = inner[key]
        inner[key] = [_text(part) for part in found] if isinstance(found, list) else _text(found)
    return values


def _text(value: Any) -> Any:
    return Text(value) if isinstance(value, str) else value


def keep_custom_texts(words: Sequence[str]) -> list[str]:
    """Quote the labels and columns of a command line so that they stay texts: ``[no]`` becomes ``["no"]``.

    Settings that had another name get their present one, and PyTorch's classes their import path.
    """
    kept: list[str] = []
    for argument in map(name_class_in_full, map(_with_present_name, arguments_of(words))):
        is_text = argument.flag.removeprefix("--").removesuffix("+") in CUSTOM_TEXTS
        # To argparse, a word with a leading dash is a flag, unless it follows an equals sign.
        if is_text and argument.values and not argument.values[0].startswith("-"):
            kept += [argument.flag, _as_text_value(argument.values[0]), *argument.values[1:]]
        else:
            kept += argument.words
    return kept


def _with_present_name(argument: Argument) -> Argument:
    name = FORMER_NAMES.get(argument.flag.removeprefix("--"))
    return argument if name is None else replace(argument, flag=f"--{name}")


def _flags_from_environment(command: str) -> list[str]:
    """Flags for labels and columns that environment variables give, whose lists are quoted in place as well."""
    flags = []
    for key in CUSTOM_TEXTS:
        if (name := setting_variable(command, key)) in os.environ:
            os.environ[name] = str(_as_text_value(os.environ[name]))  # os.environ holds plain str only
            flags.append(f"--{key}={os.environ[name]}")
    return flags


def _as_text_value(value: str) -> str:
    """Write a value of the command line so that jsonargparse reads a text or a list of texts."""
    if value in NULLS:
        return value
    if (texts := texts_in_list(value)) is not None:
        return to_flag(texts)
    return value if value.lstrip().startswith("[") else Text(value)  # jsonargparse says what is wrong with a list


MODE = "glue-lit"
register_type(LossName, loss_name_text, parse_loss_name)
set_loader(MODE, load_settings, exceptions=(yaml.YAMLError,))
set_dumper(MODE, dump_config)


class Parser(LightningArgumentParser):
    """A parser that reports errors in one message and keeps labels and columns as they are written.

    Attributes:
        line: The command line, for messages that tell where a setting was made.
    """

    line: ClassVar[CommandLine] = CommandLine([])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # jsonargparse builds the parsers of classes from this class, and passes a mode itself.
        settings: dict[str, Any] = {"allow_abbrev": False, "parser_mode": MODE, **kwargs}
        super().__init__(*args, **settings)

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parse a command with its flags; labels and columns from the environment become the first flags."""
        given = list(args or ())
        of_command = _flags_from_environment(given[0]) if given else []
        words = keep_custom_texts([*of_command, *join_lists(self, given[1:])])
        return super().parse_args([*given[:1], *words], *more, **options)

    def parse_path(self, path: Any, *more: Any, **options: Any) -> Any:
        """Read a configuration file; what it names and only exists beside it gets its absolute path."""
        settings = super().parse_path(path, *more, **options)
        for key, found in paths_beside(str(path)).items():
            settings[key] = found
        return settings

    def instantiate_classes(self, *args: Any, **options: Any) -> Any:
        """Build trainer, model, data and the classes that their settings name.

        Raises:
            UsageError: A class refuses its settings.
        """
        try:
            return super().instantiate_classes(*args, **options)
        except ValueError as error:
            if (said := explain_refused_settings(str(error))) is None:
                raise
            raise UsageError(said) from error

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message alone, without seventy lines of usage before it."""
        if isinstance(ex, MemoryError):
            raise ex
        raise UsageError(explain(self, message, self.line)) from ex


def parser_of(command_line: CommandLine) -> type[Parser]:
    """A parser class with a command line, since jsonargparse builds parsers of nested settings from the class."""

    class LineParser(Parser):
        line = command_line

    return LineParser


def add_trainer_model_and_data(
    parser: LightningArgumentParser,
    model_class: type[SequenceClassifier] = SequenceClassifier,
    datamodule_class: type[GLUEDataModule] = GLUEDataModule,
) -> None:
    """Add their settings; a model's architecture and base come from a checkpoint, never from a flag."""
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.set_defaults({f"trainer.{key}": value for key, value in TRAINER_DEFAULTS.items()})
    for action in parser._actions:
        action.help = _TRAINER_HELP.get(action.dest, action.help)
    parser.add_class_arguments(
        model_class, "model", fail_untyped=False, sub_configs=True, skip={"architecture", "base"}
    )
    parser.add_lightning_class_args(datamodule_class, "data")


def add_checkpoints(parser: LightningArgumentParser) -> None:
    """Add the settings of checkpoints and early stopping, and link the settings that model and data share."""
    parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
    parser.add_argument(
        "--name", type=str | None, default=None, help="Name of the run, for `glue-lit runs` and reports."
    )
    parser.add_argument(
        "--checkpoint_every",
        type=PositiveInt | None,
        default=None,
        help="Write last.ckpt also every N optimizer steps; null writes it only at the ends of epochs.",
    )
    parser.add_argument(
        "--early_stopping",
        type=PositiveInt | None,
        default=None,
        metavar="PATIENCE",
        help="End the fit after PATIENCE validations without improvement of the metric that picks the best checkpoint "
        "(the task's, or checkpoint.monitor); null to train to the end.",
    )
    parser.link_arguments("data.task", "model.task")
    parser.link_arguments("data.custom", "model.custom", compute_fn=_settings)
    parser.link_arguments("data.metrics", "model.metrics")
    parser.link_arguments("data.windows", "model.windows", compute_fn=_windows)
    parser.link_arguments("model.name_or_path", "data.tokenizer")
    parser.link_arguments("model.revision", "data.revision")
    parser.link_arguments("model.trust_remote_code", "data.trust_remote_code")


def _settings(custom: Any) -> dict[str, Any] | None:
    """The settings of a task of the user's own as plain values; ``None`` if there is none."""
    task = parse_custom_task(custom.as_dict() if hasattr(custom, "as_dict") else custom)
    return mark_texts(task.settings_of_model()) if task.text_columns else None


def _windows(windows: Any) -> dict[str, Any] | None:
    """The settings of windows as plain values; ``None`` if there are none."""
    given = getattr(windows, "init_args", windows)  # jsonargparse's form of a dataclass that may be null
    return plain_windows(given.as_dict() if hasattr(given, "as_dict") else given)
