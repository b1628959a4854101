"""The import that is left out, and what those find who want it."""

import subprocess
import sys

import pytest

BEGIN = """
import sys
from glue_lit.system.lazy_imports import defer_scipy_signal
with defer_scipy_signal():
"""
CASES = {
    "torchmetrics' name imports nothing": """
    import scipy.signal
    assert hasattr(scipy.signal, "hamming")
assert not [name for name in sys.modules if name.startswith("scipy.signal")]
""",
    "another name is the real one": """
    from scipy.signal import find_peaks
    assert find_peaks([0, 1, 0])[0].tolist() == [1]
assert sys.modules["scipy.signal"].find_peaks is find_peaks
""",
    "afterwards an import is an import": """
    import scipy.signal
import scipy.signal
assert scipy.signal.find_peaks([0, 1, 0])[0].tolist() == [1]
before = sys.modules["scipy.signal"]
with defer_scipy_signal():
    assert sys.modules["scipy.signal"] is before
assert sys.modules["scipy.signal"] is before
""",
}


@pytest.mark.parametrize("name", CASES)
def test_scipy_signal_is_imported_where_somebody_uses_it(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", BEGIN + CASES[name]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
