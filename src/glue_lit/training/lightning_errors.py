"""Lightning's errors as messages that name the setting and what to do."""

import re

from lightning.fabric.utilities.exceptions import MisconfigurationException

_LOGGING = ("wandb", "mlflow", "comet_ml")  # packages behind Lightning's loggers


def explain_lightning_error(error: Exception) -> str | None:
    """Explain an error about a setting, a monitored value, a logger or a checkpoint's weights; ``None`` for others."""
    text = " ".join(str(error).split())
    if isinstance(error, MisconfigurationException) or (
        isinstance(error, ValueError) and text.startswith("`val_check_interval`")
    ):
        return f"trainer: {text}"
    if isinstance(error, RuntimeError) and (late := re.match(r"Early stopping conditioned on metric `(.+?)`", text)):
        logged = ", ".join(re.findall(r"`([^`]+)`", text.rpartition(":")[2]))
        return (
            f"trainer.callbacks: EarlyStopping monitors {late[1]}, which was not logged in time; logged were: "
            f"{logged or 'none'}. Training values are logged every trainer.log_every_n_steps steps: "
            "`--trainer.log_every_n_steps 1` logs them in time."
        )
    if (package := type(error).__module__.partition(".")[0]) in _LOGGING:
        return f"trainer.logger: {package} says: {text}"
    if isinstance(error, RuntimeError) and text.startswith("Error(s) in loading state_dict"):
        return f"The checkpoint's weights do not fit the model that it describes ({text[:300]})."
    return None
