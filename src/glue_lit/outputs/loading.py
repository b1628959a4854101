"""Load a checkpoint's classifier and tokenizer for prediction and export."""

from pathlib import Path
from typing import Any

from glue_lit.data.model_inputs import adapt_tokenizer, longest_input, missing_padding_id
from glue_lit.data.module_state import datamodule_state
from glue_lit.data.tokenizers import load_tokenizer, unpack
from glue_lit.data.window_settings import parse_windows, window_length
from glue_lit.encoder.architectures import set_padding
from glue_lit.encoder.flash_attention import runs_anywhere
from glue_lit.errors import GlueLitError, RunError
from glue_lit.runs.checkpoints import check_model, read_checkpoint, verify_checksums
from glue_lit.system.system_errors import explain_system_error
from glue_lit.training.classifier import SequenceClassifier


def load_classifier(
    checkpoint: Path, trust_remote_code: bool = False, name_or_path: str | None = None
) -> tuple[SequenceClassifier, Any, int, dict[str, Any]]:
    """Load a checkpoint's classifier and tokenizer for prediction.

    Args:
        checkpoint: The checkpoint file.
        trust_remote_code: Run code that comes with its model; the checkpoint's own setting is ignored.
        name_or_path: Where the base model of its adapters is now; ``None`` for its place in the training.

    Returns:
        The classifier in evaluation mode, its tokenizer, the longest input in tokens, and the checkpoint's content.

    Raises:
        RunError: It cannot be read, holds no tokenizer, no model can be built from it, or it is not one of adapters and
            ``name_or_path`` is another model.
    """
    saved = read_checkpoint(checkpoint)
    verify_checksums(checkpoint)
    files = datamodule_state(saved).get("tokenizer")
    own = saved["hyper_parameters"]
    moved = {} if name_or_path is None else {"name_or_path": name_or_path}
    if name_or_path is not None:
        check_model(checkpoint, saved, name_or_path)
    if not files and not trust_remote_code:
        raise RunError(
            f"{checkpoint} holds no tokenizer, since a tokenizer with code of its own is not saved. If you trust the "
            f"author of {own.get('name_or_path')!r}, pass `--model.trust_remote_code true` to load it from there."
        )
    classifier = _build_classifier(checkpoint, trust_remote_code=trust_remote_code, **moved, **runs_anywhere(own))
    config = model_config(classifier)
    if files:
        tokenizer = unpack({name: content.clone() for name, content in files.items()}, config["model_type"])
    else:
        found = load_tokenizer(classifier.hparams["name_or_path"], classifier.hparams["revision"], True)
        tokenizer = adapt_tokenizer(found, config)
    set_padding(classifier.model.config, missing_padding_id(tokenizer, config))  # may be another tokenizer's
    wanted = (saved.get("datamodule_hyper_parameters") or {}).get("max_length")
    windows = parse_windows(classifier.hparams["windows"])
    longest = window_length(windows, longest_input(tokenizer, config, wanted), tokenizer)
    return classifier, tokenizer, longest, saved


def _build_classifier(checkpoint: Path, **settings: Any) -> SequenceClassifier:
    try:
        classifier = SequenceClassifier.load_from_checkpoint(
            checkpoint, map_location="cpu", weights_only=True, **settings
        )
    except (GlueLitError, MemoryError):
        raise
    except Exception as error:  # whatever a library raises for a malformed checkpoint
        if explain_system_error(error) is not None:
            raise
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"{checkpoint} is not a checkpoint that a model can be built from ({reason}).") from error
    return classifier.eval()


def model_config(classifier: SequenceClassifier) -> dict[str, Any]:
    """The values of its model's configuration, with the type of the model."""
    config = classifier.model.config
    values: dict[str, Any] = config.to_dict() | {"model_type": config.model_type}
    return values
