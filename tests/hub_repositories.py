"""Repositories of the stand-in of the Hub: GLUE in its layout there, tiny models, and how the Hub describes files."""

import hashlib
import io
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LARGE = (".safetensors", ".bin", ".parquet", ".onnx")  # in LFS, whatever their size


@dataclass
class Repository:
    """A repository's files by revision, and who may read them."""

    files: dict[str, bytes]
    private: bool = False
    gated: bool = False
    readers: set[str] = field(default_factory=set)  # users with access to a gated repository
    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)  # besides main

    def resolve(self, revision: str) -> str | None:
        """The commit of a revision (branch, tag or commit); ``None`` if there is none."""
        commits = {name: commit_of(files) for name, files in [("main", self.files), *self.revisions.items()]}
        return commits.get(revision, revision if revision in commits.values() else None)

    def at(self, commit: str) -> dict[str, bytes]:
        """The files of a commit."""
        return next(files for files in (self.files, *self.revisions.values()) if commit_of(files) == commit)


def commit_of(files: dict[str, bytes]) -> str:
    """A commit's hash, which depends on its files alone."""
    return hashlib.sha1(repr(sorted((path, sha256(content)) for path, content in files.items())).encode()).hexdigest()


def git_hash(content: bytes) -> str:
    """A file's object id in Git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    """A file's object id in LFS."""
    return hashlib.sha256(content).hexdigest()


def entries_of(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Files and folders by path, as the Hub describes them."""
    entries: dict[str, dict[str, Any]] = {}
    for path, content in files.items():
        parts = path.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            entries[folder] = {"type": "directory", "oid": git_hash(folder.encode()), "size": 0, "path": folder}
        entries[path] = {"type": "file", "oid": git_hash(content), "size": len(content), "path": path}
        if path.endswith(LARGE):
            entries[path]["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return entries


def model(folder: Path) -> Repository:
    """A model's folder."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return Repository({"README.md": b"---\nlicense: mit\n---\n", ".gitattributes": b"", **files})


def pickled(repository: Repository) -> Repository:
    """The same model with its weights in ``pytorch_model.bin`` alone, as older ones are."""
    import torch
    from safetensors.torch import load

    stream = io.BytesIO()
    torch.save(load(repository.files["model.safetensors"]), stream)
    files = {name: content for name, content in repository.files.items() if name != "model.safetensors"}
    return Repository({**files, "pytorch_model.bin": stream.getvalue()})


@cache
def _glue_files() -> dict[str, bytes]:
    from glue_lit.tasks.glue import TASKS

    files: dict[str, bytes] = {".gitattributes": b""}
    described, configurations = [], []
    for task in {task.hub_name: task for task in reversed(TASKS.values())}.values():
        sizes = []
        for split in task.files:
            files[f"{task.hub_name}/{split}-00000-of-00001.parquet"], rows = _shard(task, split)
            sizes.append({"name": split, "num_bytes": rows * 100, "num_examples": rows})
        info = {"config_name": task.hub_name, "features": _features(task), "splits": sizes}
        described.append(info | {"download_size": 1, "dataset_size": sum(size["num_bytes"] for size in sizes)})
        paths = [{"split": split, "path": f"{task.hub_name}/{split}-*"} for split in task.files]
        configurations.append({"config_name": task.hub_name, "data_files": paths})
    card = {"language": ["en"], "pretty_name": "GLUE", "dataset_info": described, "configs": configurations}
    files["README.md"] = f"---\n{yaml.safe_dump(card, sort_keys=False)}---\n".encode()
    return files


def glue() -> Repository:
    """The demo corpus as ``nyu-mll/glue`` is laid out: a folder for each configuration, a Parquet shard for each split."""
    return Repository(dict(_glue_files()))


def _features(task: Any) -> list[dict[str, Any]]:
    names = {str(number): name for number, name in enumerate(task.labels)}
    label = "float32" if task.is_regression else {"class_label": {"names": names}}
    texts = [{"name": column, "dtype": "string"} for column in task.text_columns]
    return [*texts, {"name": "label", "dtype": label}, {"name": "idx", "dtype": "int32"}]


def _shard(task: Any, split: str) -> tuple[bytes, int]:
    """A split as a Parquet file, and its rows."""
    from datasets import ClassLabel, Dataset, Features, Value

    from glue_lit.data.sources import open_split

    rows = open_split(task, "demo", split).read()
    texts = [column for column in (rows.texts_a, rows.texts_b) if column is not None]
    label = Value("float32") if task.is_regression else ClassLabel(names=list(task.labels))
    features = {column: Value("string") for column in task.text_columns} | {"label": label, "idx": Value("int32")}
    values = [*texts, [-1 if label is None else label for label in rows.labels], range(len(rows))]
    stream = io.BytesIO()
    data = Dataset.from_dict(dict(zip(features, map(list, values), strict=True)), features=Features(features))
    data.to_parquet(stream)
    return stream.getvalue(), len(data)
