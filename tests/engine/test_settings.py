import re

import pytest

from glue_lit.engine.local_slots import LocalSlots
from glue_lit.engine.settings import Engine, open_executor
from glue_lit.errors import UsageError


def test_the_executor_follows_the_flags() -> None:
    found = open_executor(Engine(slots=2, gpus_per_job=0))
    assert isinstance(found, LocalSlots)
    assert found.slots == 2
    with pytest.raises(UsageError, match=re.escape("--engine.address goes with `--engine.executor ray`")):
        open_executor(Engine(address="auto"))
    with pytest.raises(UsageError, match=re.escape("--engine.patience: got 0")):
        open_executor(Engine(patience=0))
    for wrong in (Engine(slots=10**9), Engine(gpus_per_job=-1), Engine(cpus_per_job=-1), Engine(retries=-2)):
        with pytest.raises(UsageError, match=r"--engine.* got -?[0-9]+, allowed: "):
            open_executor(wrong)
