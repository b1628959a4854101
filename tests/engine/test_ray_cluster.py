"""Jobs on a Ray cluster of two nodes on this machine, one of which is lost."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glue_lit.engine.driver import Driver
from glue_lit.engine.fixed_queue import FixedQueue
from glue_lit.engine.job import Job, Progress
from glue_lit.engine.ray_cluster import RayCluster
from glue_lit.errors import UsageError
from glue_lit.runs.shipped_configs import find_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own: unclosed sockets and files
]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listen on loopback alone
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0})
    for _ in range(2):
        nodes.add_node(num_cpus=1, num_gpus=0)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


class SilentDisplay:
    def update(self, running: list[tuple[Job, Progress]]) -> None:
        """Nothing."""

    def print(self, text: str) -> None:
        """Nothing."""


def fit(name: str, folder: Path, tiny_model: Path, epochs: int) -> Job:
    arguments = ("--data.task=sst2", "--data.source=demo", "--data.train_limit=100", "--data.validation_limit=40",
                 f"--model.name_or_path={tiny_model}", "--trainer.accelerator=cpu", f"--trainer.max_epochs={epochs}",
                 "--trainer.enable_progress_bar=false")  # fmt: skip
    return Job(name, folder / name, arguments, "sst2")


def test_the_job_of_a_lost_node_is_resumed_on_another(cluster: Any, tiny_model: Path, tmp_path: Path) -> None:
    import ray

    jobs = [fit("long", tmp_path, tiny_model, 200), fit("short", tmp_path, tiny_model, 2)]
    executor = RayCluster()
    assert executor.slots == 2
    executor.start(jobs[0])
    until = time.monotonic() + 120
    while not list(jobs[0].folder.rglob("last.ckpt")):
        assert time.monotonic() < until
        time.sleep(0.1)
    busy = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
            and ray._private.state.available_resources_per_node().get(node["NodeID"], {}).get("CPU", 0) == 0]  # fmt: skip
    assert len(busy) == 1
    (lost,) = (node for node in cluster.worker_nodes if node.node_id == busy[0])
    cluster.remove_node(lost, allow_graceful=False)
    found: list[tuple[Job, int]] = []
    while not found:
        assert time.monotonic() < until + 200
        found = executor.pop_ended()
        time.sleep(0.2)
    assert found == [(jobs[0], 0)]
    result = jobs[0].result
    assert result is not None
    assert result["epochs"] == 200
    output = jobs[0].output.read_text()
    assert re.search(r"^Checkpoint .*last\.ckpt$", output, re.MULTILINE)  # it was resumed
    assert len(re.findall(r" M parameters", output)) == 1  # and never restarted from the beginning
    assert len(list(jobs[0].folder.rglob("metrics.json"))) == 1
    queue = FixedQueue(jobs)
    Driver(queue, executor, SilentDisplay()).work()
    assert {name: outcome.state for name, outcome in queue.outcomes.items()} == {
        "long": "finished",
        "short": "finished",
    }


def test_a_job_stops_when_asked_to(cluster: Any, tiny_model: Path, tmp_path: Path) -> None:
    job = fit("long", tmp_path, tiny_model, 500)
    executor = RayCluster(slots=1)
    executor.start(job)
    until = time.monotonic() + 120
    while not job.read_progress().step:
        assert time.monotonic() < until
        time.sleep(0.1)
    executor.stop(job)
    found: list[tuple[Job, int]] = []
    while not found:
        assert time.monotonic() < until
        found = executor.pop_ended()
        time.sleep(0.1)
    assert [(job.name, job.outcome_from(code).state) for job, code in found] == [("long", "stopped")]


def test_a_cluster_without_room_for_a_job_is_refused(cluster: Any) -> None:
    with pytest.raises(UsageError, match="The Ray cluster has 2 CPUs and 0 GPUs, but a job takes 5 and 0"):
        RayCluster(cpus_per_job=5)
    with pytest.raises(UsageError, match="a job takes 1 and 1"):
        RayCluster(gpus_per_job=1)


class Shown(Job):
    """A job whose process writes what reaches it, and ends when four of them run at once."""

    def command(self) -> list[str]:
        program = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "seen.tmp").write_text(json.dumps([os.environ.get("CUDA_VISIBLE_DEVICES"), *sys.argv[2:]]))
(folder / "seen.tmp").rename(folder / "seen.json")
until = time.monotonic() + 120
while len([*folder.parent.glob("*/seen.json")]) < 4:
    if time.monotonic() > until:
        sys.exit(3)
    time.sleep(0.1)
"""
        return [sys.executable, "-c", program, str(self.folder), *self.arguments]


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of one node with a GPU by name, which the jobs do not use."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    ray.init("local", num_cpus=4, num_gpus=1, log_to_driver=False, logging_level="ERROR")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()


def test_four_jobs_share_a_gpu_and_find_the_shipped_recipes_where_they_run(one_gpu: None, tmp_path: Path) -> None:
    recipe = Path(find_config("cola")).resolve()  # on this machine, which another node may not have
    jobs = [Shown(name, tmp_path / name, ("--config", str(recipe), "--data.task", "cola"), "cola") for name in "abcd"]
    executor = RayCluster(jobs_per_gpu=4)
    assert executor.slots == 4
    for job in jobs:
        executor.start(job)
    found: list[tuple[Job, int]] = []
    until = time.monotonic() + 200
    while len(found) < 4:
        assert time.monotonic() < until
        found += executor.pop_ended()
        time.sleep(0.1)
    assert {(job.name, status) for job, status in found} == {(name, 0) for name in "abcd"}
    for job in jobs:
        seen = json.loads((job.folder / "seen.json").read_text())
        assert seen == ["0", "--config", "cola", "--data.task", "cola"]


def test_a_missing_cluster_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape("there is no Ray cluster at '127.0.0.1:1'")):
        RayCluster(address="127.0.0.1:1")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
