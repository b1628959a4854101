"""Figures rendered twice: as a PNG on white, and as an SVG that takes its colours from the page.

Series differ in colour and marker. The colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), distinct
in every kind of colour vision, darkened where they are faint on white.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1d232b", "#5a6472", "#dfe3e8", "#fefefe"
SERIES = ("#0a6cb0", "#c8500a", "#0b8a66", "#a8538c", "#96700a", "#47778f")
MARKERS = ("o", "s", "^", "D", "v", "P")
# The page's style sheet defines these variables for light and dark.
_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--card)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)
}
NAME = 22  # characters of a run's name in a legend
WIDTH = 4.3  # inches, about the width of a phone
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text that can be read aloud, searched and copied
    "text.color": INK,
    "text.parse_math": False,  # a $ in a label does not start a formula
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True)
class Drawing:
    """A finished figure."""

    name: str  # stem of its file
    title: str  # heading
    text: str  # description for screen readers
    note: str  # how to read it
    svg: str  # element of the page
    png: bytes  # content of a PNG file


def shorten(text: str, longest: int) -> str:
    """Shorten a name to fit into a figure; its end stays, because names of runs differ there."""
    cut = text if len(text) <= longest else f"…{text[1 - longest :]}"
    return f" {cut}" if cut.startswith("_") else cut  # matplotlib hides labels that start with an underscore


@contextmanager
def canvas(height: float = 2.7, **options: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure and its axes in the report's style, closed at the end."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "agg", **_STYLE}), warnings.catch_warnings():
        # the browser's fonts draw the letters that this font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure, axes = pyplot.subplots(figsize=(WIDTH, height), **options)
        try:
            yield figure, axes
        finally:
            pyplot.close(figure)


def render(figure: Figure, name: str, title: str, text: str, note: str = "") -> Drawing:
    """A finished figure as SVG and PNG."""
    page, picture = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # the same figure always gives the same SVG
        figure.savefig(page, format="svg", transparent=True, metadata=_NO_METADATA)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")  # in the page, a heading names it
    figure.savefig(picture, format="png", dpi=220, metadata={"Title": title, "Software": None})
    return Drawing(name, title, text, note, _embed(page.getvalue(), name), picture.getvalue())


def pixels(figure: Figure, title: str) -> NDArray[np.uint8]:
    """A finished figure as pixels, ``(height, width, 3)``."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    figure.set_dpi(150)
    figure.canvas.draw()
    image: NDArray[np.uint8] = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    return image


def _embed(svg: str, name: str) -> str:
    """Make an SVG an element of the page: without prolog, ids prefixed with its name, the page's colours and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'^<svg[^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)  # report.css has it
    return re.sub(r"<[^>]+>", lambda tag: _embed_tag(tag[0], name), svg)  # text between tags stays as it is


def _embed_tag(tag: str, name: str) -> str:
    tag = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", tag).replace("xlink:href", "href")
    tag = re.sub(r"font: [^;\"]*?([\d.]+)px[^;\"]*", _without_family, tag)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: _COLOURS.get(colour[0], colour[0]), tag)


def _without_family(font: re.Match[str]) -> str:
    weight = "; font-weight: 650" if re.search(r"\b(bold|700)\b", font[0]) else ""
    return f"font-size: {font[1]}px{weight}"
