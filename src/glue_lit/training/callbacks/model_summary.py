"""Lightning's summary of a model, with the parameters that it has and not those of how it is trained."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelSummary, RichModelSummary

from glue_lit.encoder.trained_embedding import count_embedding_once
from glue_lit.training.lightning_internals import summary_settings


class PlainModelSummary(ModelSummary):
    """Lightning's summary; the token embedding counts once, whether all its rows are trained or those in use."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Print it."""
        with count_embedding_once(pl_module):
            super().on_fit_start(trainer, pl_module)


class PlainRichModelSummary(RichModelSummary):
    """The same as a table of rich's."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Print it."""
        with count_embedding_once(pl_module):
            super().on_fit_start(trainer, pl_module)


def plain_summaries(callbacks: Iterable[Callback]) -> list[Callback]:
    """Replacements for Lightning's own summaries among a trainer's callbacks."""
    ours: dict[type, type[ModelSummary]] = {ModelSummary: PlainModelSummary, RichModelSummary: PlainRichModelSummary}
    return [
        ours[type(callback)](**summary_settings(callback))
        for callback in callbacks
        if isinstance(callback, ModelSummary) and type(callback) in ours
    ]
