"""Errors of Lightning are messages that name the setting."""

from lightning.fabric.utilities.exceptions import MisconfigurationException

from glue_lit.training.lightning_errors import explain_lightning_error


def test_errors_of_lightning_are_one_message() -> None:
    assert explain_lightning_error(MisconfigurationException("You requested\n0.1")) == "trainer: You requested 0.1"
    assert (
        explain_lightning_error(ValueError("`val_check_interval` (9) must be"))
        == "trainer: `val_check_interval` (9) must be"
    )
    assert explain_lightning_error(ValueError("other")) is None
    no_key = type("UsageError", (Exception,), {"__module__": "wandb.errors"})("No API key configured.")
    assert explain_lightning_error(no_key) == "trainer.logger: wandb says: No API key configured."
    late = (
        "Early stopping conditioned on metric `train/loss` which is not available. Pass in or modify your "
        "`EarlyStopping` callback to use any of the following: `val/accuracy`, `val/loss`"
    )
    said = explain_lightning_error(RuntimeError(late)) or ""
    assert said.startswith("trainer.callbacks: EarlyStopping monitors train/loss, which was not logged")
    assert "logged were: val/accuracy, val/loss." in said
    assert "`--trainer.log_every_n_steps 1`" in said
