"""What `fit` makes of its arguments, in a process of its own: the driver of a search or a suite needs no torch.

    echo '[["--config", "configs/cola.yaml"]]' | python -m glue_lit.engine.configurations

Reads lists of arguments and writes, for each, the configuration (YAML) or what is wrong with it.
"""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from glue_lit.errors import GlueLitError, UsageError


def full_configurations(arguments: Sequence[Sequence[str]]) -> list[str]:
    """The configurations that `fit` makes of several lists of arguments, as YAML.

    One process reads them all: starting it takes longer than reading fifty.

    Raises:
        UsageError: It finds something wrong with one of them.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=json.dumps(arguments), capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing was said"]
        raise UsageError(said[-1].removeprefix("glue-lit: error: "))
    found: list[str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Be that process."""
    from glue_lit.quiet import hush

    hush()
    from glue_lit.cli import GlueLitCLI

    found = []
    for arguments in json.load(sys.stdin):
        sys.argv = ["glue-lit", "fit", *arguments, "--print_config"]
        try:
            with redirect_stdout(io.StringIO()) as printed:
                GlueLitCLI()
        except GlueLitError as error:
            sys.exit(f"glue-lit: error: {error}")
        except SystemExit as end:  # which is how jsonargparse ends after printing
            if end.code:
                raise
        found.append(printed.getvalue())
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
