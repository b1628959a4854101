"""Whoever runs the tests, wherever: each process of a run finds the same machine."""

import json
import subprocess
import sys

import pytest
import warm

LOOK = """
import json, locale, time
from glue_lit.system.hardware import fast_precision
import torch
found = [fast_precision("cpu"), torch.get_num_threads(), time.tzname[0], locale.getpreferredencoding(False)]
print(json.dumps(found))
"""


@pytest.mark.parametrize("has", ["on", "off"])
def test_every_process_finds_the_requested_processor(has: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from glue_lit.system.hardware import fast_precision

    monkeypatch.setenv("TEST_BFLOAT16", has)
    expected = ["bf16-mixed" if has == "on" else "32-true", 1, "UTC", "UTF-8"]
    assert fast_precision("cpu") == expected[0]
    new = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert json.loads(new.stdout) == expected
    assert json.loads(warm.run("-c", LOOK).stdout) == expected


def test_the_flag_decides_the_processor_of_this_run(pytestconfig: pytest.Config) -> None:
    from glue_lit.system.hardware import fast_precision

    asked = pytestconfig.getoption("--bfloat16")
    assert fast_precision("cpu") == ("bf16-mixed" if asked == "on" else "32-true")
