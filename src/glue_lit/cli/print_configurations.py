"""Print the configurations that `fit` builds from lists of arguments.

    echo '[["--config", "configs/cola.yaml"]]' | python -m glue_lit.cli.print_configurations

`engine_arguments.full_configurations` runs it as a process, so that the driver of a search or a suite needs no torch.
"""

import gc
import io
import json
import sys
from contextlib import redirect_stdout

from glue_lit.errors import GlueLitError
from glue_lit.system.system_errors import check_memory_limit


def main() -> None:
    """Read lists of arguments and write their configurations, both as JSON; exit with 1 if `fit` refuses one."""
    from glue_lit.system.library_warnings import filter_warnings

    try:
        check_memory_limit()
    except GlueLitError as error:
        sys.exit(f"glue-lit: error: {error}")
    filter_warnings()
    gc.disable()  # as `__main__` does; it ends before there is anything to collect
    from glue_lit.cli.configure import configure, resolve

    gc.freeze()
    found = []
    for arguments in json.load(sys.stdin):
        try:
            with redirect_stdout(io.StringIO()) as printed:
                configure(resolve("fit", [*arguments, "--print_config"]))
        except GlueLitError as error:
            sys.exit(f"glue-lit: error: {error}")
        except SystemExit as end:  # jsonargparse exits after printing
            if end.code:
                raise
        found.append(printed.getvalue())
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
