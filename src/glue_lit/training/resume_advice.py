"""How to resume a fit that has ended early."""

import shlex
import sys

from glue_lit.system.files import short_path
from glue_lit.training.callbacks.checkpoints import LastCheckpoint


def own_program() -> str:
    """How a shell starts this program, if it is one of the user's own."""
    return f"python {shlex.quote(sys.argv[0])}"


def resume_advice(last: LastCheckpoint | None, program: str) -> str | None:
    """How to resume after an error; ``None`` if this fit has written no checkpoint."""
    if last is None or last.saved_at is None:
        return None
    return f"The last checkpoint is from step {last.saved_at}. To resume: {resume_command(last, program)}"


def resume_command(last: LastCheckpoint, program: str) -> str:
    """The command that resumes a run from its last checkpoint."""
    return f"{program} fit --run {shlex.quote(short_path(last.path.parent.parent))} --ckpt_path last"
