"""The files around the package agree with it: workflows, versions, the container's build."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import glue_lit

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in REPOSITORY.glob(".github/workflows/*.yml")}


def steps() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every step of every workflow, once for each entry of its job's matrix: the entry and the step."""
    jobs = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
    return [
        (entry, step)
        for job in jobs
        for entry in job.get("strategy", {}).get("matrix", {}).get("include", [{}])
        for step in job.get("steps", [])
    ]


def test_workflows_and_documents_name_targets_of_make() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {entry["target"] for entry, _ in steps() if entry}
    named |= {word for _, step in steps() for word in re.findall(r"\bmake ([\w-]+)", step.get("run", ""))}
    for document in ("README.md", "CONTRIBUTING.md", "Makefile"):
        named |= set(re.findall(r"(?:^# |`)make ([\w-]+)", (REPOSITORY / document).read_text("utf-8"), re.MULTILINE))
    assert {"test", "lowest", "release"} <= named <= targets


def test_pythons_of_the_workflows_are_supported_ones() -> None:
    pythons = {entry["python"] for entry, _ in steps() if entry}
    supported = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert all(python in supported for python in pythons)
    assert min(pythons, key=lambda python: int(python.partition(".")[2])) == str(supported).removeprefix(">=")


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == glue_lit.__version__
    assert citation["license"] == PROJECT["license"]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_pinned_versions_are_in_their_ranges(name: str) -> None:
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pins = {canonicalize_name(package): version for package, version in pins.items()}
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(each for extra in extras.values() for each in extra)]
    tools = {Requirement(each).name for extra in ("docs", "release") for each in extras[extra]}  # no test needs them
    for requirement in map(Requirement, wanted):
        if requirement.name != "glue-lit" and not (name == "constraints-lowest.txt" and requirement.name in tools):
            assert pins[canonicalize_name(requirement.name)] in requirement.specifier


def test_dockerignore_lets_through_what_the_image_copies() -> None:
    copied = re.findall(
        r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", (REPOSITORY / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    files = {word for line in copied for word in line.split()}
    assert files == let_through
    assert all((REPOSITORY / file).exists() for file in files)
