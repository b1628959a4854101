"""What is published: the wheel works outside the checkout, and neither file carries more than it has to."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOP = {
    "CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "SECURITY.md", "configs", "constraints.txt",
    "examples", "pyproject.toml", "setup.cfg", "src",
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    checkout = folder / "checkout"
    left_out = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "lightning_logs", "ledger")
    shutil.copytree(REPOSITORY, checkout, ignore=left_out)
    build = (
        "import os, sys; from setuptools import build_meta; folder = sys.argv[1]; name = build_meta.build_sdist(folder);"
        "import tarfile; tarfile.open(os.path.join(folder, name)).extractall(folder, filter='data');"
        "os.chdir(os.path.join(folder, name.removesuffix('.tar.gz'))); build_meta.build_wheel(folder)"
    )
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def files_of(package: str) -> set[str]:
    """What of `src` git would publish."""
    patterns = ("*.py", "py.typed", "*.tsv", "*.j2", "*.css")
    return {
        path.relative_to(REPOSITORY / "src").as_posix()
        for pattern in patterns
        for path in (REPOSITORY / "src" / package).rglob(pattern)
    }


def test_the_source_carries_what_it_needs(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()} - {""}
    assert {name.partition("/")[0] for name in names} == TOP
    assert {f"src/{name}" for name in files_of("glue_lit")} <= names
    assert {f"configs/{path.name}" for path in (REPOSITORY / "configs").glob("*.yaml")} <= names


def test_the_wheel_holds_the_package_and_the_configurations_only(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    folder = REPOSITORY / "configs"
    configs = [*folder.rglob("*.yaml"), folder / "examples" / "reviews.csv"]
    assert names == files_of("glue_lit") | {
        f"glue_lit/configs/{path.relative_to(folder).as_posix()}" for path in configs
    }


def test_the_wheel_works_outside_the_checkout(built: Path, tiny_model: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:  # pure Python: to unpack it is to install it
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    arguments = ["--config", "configs/cola.yaml", "--data.source", "demo", "--model.name_or_path", str(tiny_model),
                 "--trainer.max_steps", "2", "--data.cache_dir", str(tmp_path)]  # fmt: skip
    where = [sys.executable, "-c", "import glue_lit; print(glue_lit.__file__)"]
    fit = [sys.executable, "-m", "glue_lit", "fit", *arguments]
    show = [sys.executable, "-m", "glue_lit", "show", "--config", "custom"]
    for command, said in ((where, str(tmp_path / "site")), (fit, "best checkpoint"), (show, "10 of 360 rows")):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
