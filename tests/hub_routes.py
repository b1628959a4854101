"""What the stand-in of the Hub answers, path by path."""

import base64
import json
from typing import ClassVar
from urllib.parse import parse_qs

from hub_connection import Connection
from hub_repositories import LARGE, Repository, commit_of, entries_of, git_hash, sha256

_NAME = r"(?P<name>[\w.-]+(/[\w.-]+)?)"
_API = rf"/api/(?P<kind>models|datasets)/{_NAME}"
_CACHE = r"/api/resolve-cache/(?P<kind>\w+)/(?P<name>[^/]+/[^/]+)"


class Routes(Connection):
    """The routes, for reading and for writing."""

    routes: ClassVar = [
        ("CONNECT", r"(?P<host>[^/]+)", "connect"),
        ("GET", r"/api/whoami-v2", "whoami"),
        ("GET", rf"{_CACHE}/(?P<revision>\w+)/(?P<file>.+)", "cached_file"),
        ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?", "tree"),
        ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", "paths"),
        ("GET", rf"{_API}(/revision/(?P<revision>[^/]+))?", "information"),
        ("GET", rf"/((?P<kind>datasets)/)?{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", "file"),
        ("GET", r"/cdn/(?P<digest>\w+)", "large_file"),
        ("PUT", r"/cdn/(?P<digest>\w+)", "store"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("PUT", rf"/api/models/{_NAME}/settings", "change_settings"),
        ("POST", rf"/api/models/{_NAME}/preupload/main", "preupload"),
        ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", "batch"),
        ("POST", rf"/api/models/{_NAME}/commit/main", "commit"),
    ]

    # ------------------------------------------------------------ reading

    def _find(self, kind: str, name: str, revision: str, file: str = "") -> tuple[Repository, str] | None:
        """The repository and the commit that are asked for; ``None`` after a refusal was sent."""
        repository = self.hub.repositories.get((kind, name))
        if kind == "models" and name in self.hub.moved:
            self.send(307, headers={"Location": self.path.replace(name, self.hub.moved[name], 1)})
        elif repository is None or (repository.private and self.user != name.partition("/")[0]):
            # the Hub does not reveal whether a private one exists
            self.refuse("RepoNotFound", 401 if self.user is None else 404)
        elif repository.gated and self.user not in repository.readers and file not in ("", "README.md"):
            self.refuse("GatedRepo", 401 if self.user is None else 403)
        elif (commit := repository.resolve(revision)) is None:
            self.refuse("RevisionNotFound")
        else:
            return repository, commit
        return None

    def information(self, kind: str, name: str, revision: str = "main") -> None:
        if (found := self._find(kind, name, revision)) is not None:
            repository, commit = found
            files = [{"rfilename": file, "size": len(content)} for file, content in repository.at(commit).items()]
            values = {"id": name, "sha": commit, "private": repository.private, "siblings": files, "tags": []}
            self.send_json({**values, "gated": "auto" if repository.gated else False, "disabled": False})

    def file(self, name: str, revision: str, file: str, kind: str = "models") -> None:
        if (found := self._find(kind, name, revision, file)) is None:
            return
        repository, commit = found
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        content = repository.at(commit).get(file)
        if content is None:
            self.refuse("EntryNotFound", headers=headers)
        elif file.endswith(LARGE):
            digest = sha256(content)
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
            self.send(302, headers={**headers, "Location": f"{self.hub.cdn}/cdn/{digest}?{file.rpartition('/')[2]}"})
        else:
            self.send(307, headers={**headers, "Location": f"/api/resolve-cache/{kind}/{name}/{commit}/{file}"})

    def cached_file(self, kind: str, name: str, revision: str, file: str) -> None:
        if (found := self._find(kind, name, revision, file)) is not None:
            content = found[0].at(found[1])[file]
            self.send_file(content, {"X-Repo-Commit": found[1], "ETag": f'"{git_hash(content)}"'})

    def large_file(self, digest: str) -> None:
        content = self.hub.find_large_file(digest)
        if content is None:
            self.send(403)
        else:
            name = {"Content-Disposition": f'inline; filename="{self.query}";'}
            self.send_file(content, {"ETag": f'"{digest}"', **name})

    def tree(self, kind: str, name: str, revision: str, folder: str = "") -> None:
        if (found := self._find(kind, name, revision)) is None:
            return
        entries = entries_of(found[0].at(found[1]))
        start = folder and f"{folder}/"
        inside = [entry for path, entry in entries.items() if path.startswith(start)]
        if folder and not inside:
            return self.refuse("EntryNotFound")
        deep = parse_qs(self.query).get("recursive", [""])[0].lower() in ("true", "1")
        self.send_json([entry for entry in inside if deep or entry["path"].count("/") == start.count("/")])

    def paths(self, kind: str, name: str, revision: str) -> None:
        if (found := self._find(kind, name, revision)) is not None:
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            paths = json.loads(self.sent)["paths"] if is_json else parse_qs(self.sent.decode()).get("paths", [])
            entries = entries_of(found[0].at(found[1]))
            self.send_json([entries[path] for path in paths if path in entries])

    def whoami(self) -> None:
        if self.user is None:
            self.send_json({"error": "Invalid username or password."}, 401)
        else:
            self.send_json({"type": "user", "id": self.user, "name": self.user, "orgs": [], "auth": {}})

    # ------------------------------------------------------------ writing

    def _may_write(self, name: str, is_new: bool = False) -> bool:
        if self.user is None:
            self.send_json({"error": "Invalid username or password."}, 401)
        elif name.partition("/")[0] != self.user:
            message = f"You don't have the rights to write to {name}"
            self.send_json({"error": message}, 403, {"X-Error-Message": message})
        elif not is_new and ("models", name) not in self.hub.repositories:
            self.refuse("RepoNotFound")
        else:
            return True
        return False

    def create(self) -> None:
        wanted = json.loads(self.sent)
        name = f"{wanted.get('organization') or self.user}/{wanted['name']}"
        if not self._may_write(name, is_new=True):
            return
        answer = {"url": f"{self.hub.url}/{name}", "name": name}
        if ("models", name) in self.hub.repositories:
            return self.send_json({**answer, "error": "You already created this model repo"}, 409)
        self.hub.repositories["models", name] = Repository({}, private=wanted.get("visibility") == "private")
        self.send_json(answer)

    def validate(self) -> None:
        self.send_json({"errors": [], "warnings": []})

    def change_settings(self, name: str) -> None:
        if self._may_write(name):
            self.hub.repositories["models", name].private = json.loads(self.sent)["visibility"] == "private"
            self.send_json({})

    def preupload(self, name: str) -> None:
        if self._may_write(name):
            modes = {path["path"]: path["path"].endswith(LARGE) for path in json.loads(self.sent)["files"]}
            files = [{"path": path, "uploadMode": "lfs" if large else "regular"} for path, large in modes.items()]
            self.send_json({"files": [file | {"shouldIgnore": False} for file in files]})

    def batch(self, name: str) -> None:
        if self._may_write(name):
            objects = json.loads(self.sent)["objects"]
            upload = [{**one, "actions": {"upload": {"href": f"{self.hub.cdn}/cdn/{one['oid']}"}}} for one in objects]
            self.send_json({"transfer": "basic", "objects": upload})

    def store(self, digest: str) -> None:
        self.hub.uploads[digest] = self.sent
        self.send(200)

    def commit(self, name: str) -> None:
        if not self._may_write(name):
            return
        files = self.hub.repositories["models", name].files
        for line in map(json.loads, self.sent.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        commit = commit_of(files)
        self.send_json({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit})

    # ------------------------------------------------------------ a proxy

    def connect(self, host: str) -> None:
        del host  # all hosts but this one are out of reach
        self.send(403)
