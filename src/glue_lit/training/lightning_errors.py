"""Lightning's errors as messages that name the setting and what to do."""

import re

from lightning.fabric.utilities.exceptions import MisconfigurationException


def explain_lightning_error(error: Exception) -> str | None:
    """What Lightning says of a setting that turns out not to fit the data; ``None`` for any other error."""
    text = " ".join(str(error).split())
    if isinstance(error, MisconfigurationException) or (
        isinstance(error, ValueError) and text.startswith("`val_check_interval`")
    ):
        return f"trainer: {text}"
    if isinstance(error, RuntimeError) and (late := re.match(r"Early stopping conditioned on metric `(.+?)`", text)):
        logged = ", ".join(re.findall(r"`([^`]+)`", text.rpartition(":")[2]))
        return (
            f"trainer.callbacks: EarlyStopping waits for {late[1]}, which was not logged when it looked for it; there "
            f"was {logged or 'nothing'}. Values of the training are logged every trainer.log_every_n_steps steps: "
            "`--trainer.log_every_n_steps 1` logs them in time."
        )
    if isinstance(error, RuntimeError) and text.startswith("Error(s) in loading state_dict"):
        return f"The checkpoint's weights are not those of the model that it describes ({text[:300]})."
    return None
