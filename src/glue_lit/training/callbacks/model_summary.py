"""Lightning's summary of a model, with the same numbers of parameters as outside of a fit."""

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelSummary, RichModelSummary

from glue_lit.encoder.trained_embedding import count_embedding_once
from glue_lit.training.lightning_internals import summary_settings


class _CountedOnce(Callback):
    """Counts the token embedding once, although a fit holds the rows in use a second time."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        with count_embedding_once(pl_module):
            super().on_fit_start(trainer, pl_module)


class _PlainSummary(_CountedOnce, ModelSummary):
    pass


class _RichSummary(_CountedOnce, RichModelSummary):
    pass


_OURS: dict[type, type[ModelSummary]] = {ModelSummary: _PlainSummary, RichModelSummary: _RichSummary}


def replace_summaries(callbacks: list[Callback]) -> None:
    """Replace Lightning's own summaries among a trainer's callbacks.

    In place: if ``configure_callbacks`` returned them, Lightning would print that they override others.
    """
    for at, callback in enumerate(callbacks):
        if isinstance(callback, ModelSummary) and (ours := _OURS.get(type(callback))) is not None:
            callbacks[at] = ours(**summary_settings(callback))
