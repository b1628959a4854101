"""The loader's workers."""

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import sys
from glue_lit import GLUEDataModule

data = GLUEDataModule(task="cola", source="demo", tokenizer=sys.argv[1], batch_size=8, train_limit=16, num_workers=1)
data.setup("fit")
loader = data.train_dataloader()
print(*(len(batch["idx"]) for _ in range(2) for batch in loader))
"""


def test_a_script_with_workers_ends(tiny_model: Path) -> None:
    # Python's exit sends SIGTERM to workers, which they ignore, and waits for them without a limit.
    command = [sys.executable, "-c", _SCRIPT, str(tiny_model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["8"] * 4
