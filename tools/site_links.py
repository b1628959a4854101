"""A hook of MkDocs: files outside of `docs/` that its pages link to become pages and files of the site.

So a link is written once, as a code host follows it: ``../configs/cola.yaml`` from a page of `docs/`,
``docs/devices.md`` from the README, which is the site's first page. What a linked page links to comes along, too.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_REPOSITORY = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<=\]\()(?P<path>[\w./+-]+)(?=[#)])")


def _in_repository(uri: str) -> str:
    """Path in the repository of what the site calls ``uri``."""
    if uri == "index.md":
        return "README.md"
    return uri if (_REPOSITORY / uri).is_file() else f"docs/{uri}"


def _on_site(path: str) -> str:
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def _target(page: str, link: str) -> str | None:
    """Path in the repository of a link on the page at ``page``; None for a link to anything but a file there."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    return path if (_REPOSITORY / path).is_file() else None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to, and the pages that the navigation names."""
    waiting = ["README.md", *(_in_repository(file.src_uri) for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        uri = _on_site(path)
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, abs_src_path=str(_REPOSITORY / path)))
        if path.endswith(".md"):
            text = (_REPOSITORY / path).read_text(encoding="utf-8")
            targets = {_target(path, link["path"]) for link in _LINK.finditer(text)} - {None} - seen
            waiting += targets
            seen |= targets
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    uri = page.file.src_uri
    here = _in_repository(uri)

    def on_site(link: re.Match[str]) -> str:
        path = _target(here, link["path"])
        return posixpath.relpath(_on_site(path), posixpath.dirname(uri) or ".") if path else link["path"]

    return _LINK.sub(on_site, markdown)
