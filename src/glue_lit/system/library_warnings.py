"""Filters for library warnings that the user cannot act on."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glue_lit.system.console import say
from glue_lit.system.environment import is_debugging
from glue_lit.system.printable import printable
from glue_lit.system.run_log import add_to_log

_MESSAGES = (
    r".*LeafSpec",
    r".*The dirpath has changed",
    r".*Metric .*Spearman",
    r".*The number of training batches",
    r".*Checkpoint directory .* exists",
    r".*does not have many workers",
    r".*recommended to use .*sync_dist=True",  # metrics are already the same on every device
    r".*Found .* module\(s\) in eval mode",
    r".*Trying to infer the `batch_size`",
    r".*GPU available but not used",
    r".*No device id is provided via `init_process_group`",
    r".*isinstance\(treespec, LeafSpec\)",
    r".*You are using a CUDA device .* Tensor Cores",
    r".*lr_scheduler\.step\(\)",  # raised when a resumed run is already at its end
    r".*callbacks used to create the checkpoint need to be provided",  # only a fit writes checkpoints
    r".*could not find the monitored key",  # names are checked earlier; a fit without a validation has its own message
    r"_check_is_size will be removed",  # bitsandbytes before 0.50
    r".*`loftq_config` specified but will be ignored",  # peft's own default
    r".*was configured with .*weights_only",
    r".*the hooks will not be called on every batch",  # our optimizer_step expects that
    r".*You're using the WeightAveraging callback",  # about sharded models and evaluations, which need no average
)
_LIGHTNING = ("lightning.pytorch", "lightning.fabric")
_PROFILERS = logging.getLogger("lightning.pytorch.profilers")


class _Say(logging.Handler):
    """Prints a message as our own."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage().strip("\n"))


def filter_warnings() -> None:
    """Ignore these warnings, and set the environment variables that libraries read when they are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # otherwise a line for every retry without a network
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # about Lightning's calls, not the user's
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # otherwise a warning after each fork
    try:
        Path.home()
    except RuntimeError:  # no $HOME, and a user unknown to the system, as in a container
        # Lightning imports matplotlib, which before 3.11 fails here; this makes it use a temporary folder.
        os.environ.setdefault("MPLCONFIGDIR", os.devnull)
    for message in _MESSAGES:
        warnings.filterwarnings("ignore", message=message)
    # It tells that a kernel of the Hub is missing, which layers in 4 bits do not use here.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def quiet_lightning() -> None:
    """Turn off Lightning's info messages, except a profiler's table, and the lines of code in warnings.

    Call it after the import of Lightning, which sets both.
    """
    for name in _LIGHTNING:
        logging.getLogger(name).setLevel(logging.WARNING)
    _PROFILERS.setLevel(logging.INFO)
    _PROFILERS.handlers, _PROFILERS.propagate = [_Say()], False
    if not is_debugging():
        warnings.formatwarning = _format_in_a_line


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Apply `filter_warnings` and `quiet_lightning` to a block of someone else's program, then restore its settings."""
    levels = {name: logging.getLogger(name).level for name in _LIGHTNING}
    formatwarning = warnings.formatwarning
    with warnings.catch_warnings():
        filter_warnings()
        quiet_lightning()
        try:
            yield
        finally:
            warnings.formatwarning = formatwarning
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            _PROFILERS.setLevel(logging.NOTSET)
            _PROFILERS.handlers, _PROFILERS.propagate = [], True


def _format_in_a_line(message: Warning | str, *_: object, **__: object) -> str:
    line = f"glue-lit: warning: {printable(' '.join(str(message).split()))}"
    add_to_log(line)
    return f"{line}\n"
