"""Several drivers share one search in a PostgreSQL database."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # connections that SQLAlchemy closes when it is collected
]

DRIVER = """
import json, sys
from pathlib import Path
from optuna.distributions import FloatDistribution
from glue_lit.engine.job import Outcome
from glue_lit.engine.search import Search

folder = Path(sys.argv[1])
folder.mkdir(parents=True)
(folder / "base.yaml").write_text("data: {task: cola}")
search = Search(folder, folder / "base.yaml", "cola", {"model.learning_rate": FloatDistribution(1e-6, 1e-2, log=True)}, 12,
                "val/accuracy", True, storage=sys.argv[2])
begun = []
while (job := search.next_job()) is not None:
    begun.append(int(job.name))
    if sys.argv[3] == "stay" and len(begun) == 2:  # as if killed during its second trial
        break
    run = job.folder / "lightning_logs" / "cola" / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    (run / "metrics.json").write_text('{"metrics": {"val/accuracy": 0.5}}')
    search.record_outcome(job, Outcome("finished"))
print(json.dumps(begun))
"""


def binaries() -> Path | None:
    """Folder of the server's programs, which Debian keeps off the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).parent if found else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL server; tools/postgresql installs one")
    folder = Path(tempfile.mkdtemp(prefix="postgres"))  # other users cannot read pytest's folders
    prefix: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        user = next(entry for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody"))
        os.chown(folder, user.pw_uid, user.pw_gid)
        prefix = ["runuser", "-u", user.pw_name, "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    for command in (
        [programs / "initdb", "-D", data, "-A", "trust", "-U", "me"],
        [programs / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"],
    ):
        done = subprocess.run([*prefix, *map(str, command)], capture_output=True, text=True, cwd=folder, check=False)
        assert done.returncode == 0, done.stderr
    yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
    subprocess.run([*prefix, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"], check=False,
                   capture_output=True, cwd=folder)  # fmt: skip
    shutil.rmtree(folder)


def test_two_drivers_share_the_trials(server: str, tmp_path: Path) -> None:
    def start(place: str, end: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRIVER, tmp_path / place / "shared", server, end]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    drivers = [start("three", "stay")]  # it ends before the others begin, who might leave it no second trial
    begun = [json.loads(drivers[0].communicate(timeout=120)[0])]
    drivers += [start("one", "go"), start("two", "go")]
    begun += [json.loads(driver.communicate(timeout=120)[0]) for driver in drivers[1:]]
    assert all(driver.returncode == 0 for driver in drivers)
    together = [number for numbers in begun for number in numbers]
    assert sorted(together) == list(range(len(together)))  # no trial runs twice
    assert 12 <= len(together) <= 14  # two drivers can start the last trial at once
    storage = optuna.storages.RDBStorage(server)
    states = [trial.state.name for trial in optuna.load_study(study_name="shared", storage=storage).get_trials()]
    storage.remove_session()
    storage.engine.dispose()
    assert states.count("RUNNING") == 1  # of the killed driver, for it to resume: no other has taken it
    assert states.count("COMPLETE") == len(together) - 1
