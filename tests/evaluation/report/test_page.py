"""The page and its figures, made from rows that try to break them."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.report.canvas import SERIES
from glue_lit.evaluation.report.events import Curve
from glue_lit.evaluation.report.figures import drawings, thin_out
from glue_lit.evaluation.report.findings import Material, Report, build_report, names_of
from glue_lit.evaluation.report.outcome_figures import group_labels
from glue_lit.evaluation.report.page import p_value, page, visible
from glue_lit.evaluation.report.texts import Texts
from glue_lit.runs.run import Run
from glue_lit.tasks.glue import TaskSpec, get_task

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "</blockquote></main><style>* { display: none }</style>",
    "{{ 7 * 7 }} {% raw %} &amp; &lt;b&gt; ${x} $x^2$",
    "before\x00\x1b[31m\u202eafter",
)


def material(
    folder: Path, task: TaskSpec, texts: Sequence[str] = HOSTILE, rows: int = 60, seed: int = 0, skill: float = 0.6
) -> Material:
    draw = np.random.default_rng(seed)
    run = Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held = [tuple(texts[(row + place) % len(texts)] for place in range(len(task.text_columns))) for row in range(rows)]
    if task.is_regression:
        gold = np.random.default_rng(99).random(rows) * 5
        predicted = Predictions(np.arange(rows), gold, gold + draw.normal(size=rows), None)
    else:
        gold = np.random.default_rng(99).integers(0, len(task.labels), rows)
        values = np.where(draw.random(rows) < skill, gold, draw.integers(0, len(task.labels), rows))
        of = np.full((rows, len(task.labels)), 0.3 / max(1, len(task.labels) - 1))
        of[np.arange(rows), values] = 0.7
        predicted = Predictions(np.arange(rows), gold, values, of)
    settings = {"data": {"task": task.name}, "seed_everything": seed}
    split, notes = str(task.monitored_split), [f"A note: {HOSTILE[0]}"]
    return Material(run, task, split, settings, {"Seed": str(seed)}, predicted, Texts(held), notes)


def html_of(report: Report) -> str:
    return page(report, drawings(report))


class Elements(HTMLParser):
    """What a browser would make of a page: elements, addresses, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hostile_task() -> TaskSpec:
    return replace(get_task("rte"), title=HOSTILE[0], name="<b>own", labels=HOSTILE[:2], text_columns=("<i>", "b"))


def test_markup_in_texts_and_labels_is_escaped(tmp_path: Path, hostile_task: TaskSpec) -> None:
    html = html_of(build_report([material(tmp_path / "logs" / "<b>run", hostile_task)]))
    found = Elements(html)
    assert {"script", "img", "i", "b"}.isdisjoint(found.names)
    assert found.names.count("style") == 1
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    for text in HOSTILE[:4]:
        assert text in found.text
    assert "before\u2400\u241b[31m[U+202E]after" in found.text
    assert "\x00" not in html


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    html = html_of(build_report([material(tmp_path / "a", get_task("rte"))]))
    found = Elements(html)
    outward = [value for name, value in found.attributes if name in ("src", "href", "action", "srcset")]
    assert all(value.startswith("#") for value in outward)
    assert "url(http" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert len(found.ids) == len(set(found.ids))
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(found.ids)


def test_cards_stand_side_by_side(tmp_path: Path) -> None:
    def sections(task: str) -> dict[str, str]:
        html = html_of(build_report([material(tmp_path / task, get_task(task))]))
        return {part.partition("</h2>")[0]: part for part in html.split("<h2>")[1:]}

    regression = sections("stsb")["Predictions"]  # the scatter plot has no second card of its own
    assert (
        regression.index("Predicted against gold") < regression.index("by group of rows") < regression.index("<table")
    )
    slices = sections("rte")["Scores by slice"]
    assert slices.index("by group of rows") < slices.index("<table")
    assert "<details>" not in slices


def test_a_narrow_screen_shows_which_run_a_setting_is_of(tmp_path: Path) -> None:
    runs = [material(tmp_path / "<b>" / name, get_task("rte"), seed=seed) for seed, name in enumerate("ab")]
    recipe = html_of(build_report(runs)).partition("<h2>Recipe</h2>")[2]
    assert 'class="by-run"' in recipe
    for number, name in enumerate("ab"):
        named = f'data-run="&lt;b&gt;/{name}" style="--of: var(--series-{number + 1})"><strong>{number}</strong>'
        assert named in recipe


@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_a_browser_shows_hostile_rows_as_text(tmp_path: Path, hostile_task: TaskSpec, scheme: int) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    path = tmp_path / "report.html"
    html = html_of(build_report([material(tmp_path / "a", hostile_task)]))
    path.write_text(html, encoding="utf-8")
    common = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    common.append(f"--blink-settings=preferredColorScheme={scheme}")
    done = subprocess.run(
        [*common, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    found = Elements(done.stdout)
    assert {"script", "img"}.isdisjoint(found.names)
    assert "<title>owned" not in done.stdout
    assert found.text.count(HOSTILE[0]) == Elements(html).text.count(HOSTILE[0]) > 0
    picture = tmp_path / "page.png"
    subprocess.run([*common, f"--screenshot={picture}", path.as_uri()], capture_output=True, timeout=60, check=True)
    from PIL import Image

    with Image.open(picture) as image:  # the page's own background, so its style sheet applies
        assert image.convert("RGB").getpixel((2, 2)) == ((246, 247, 249) if scheme else (18, 22, 27))


@pytest.mark.parametrize("task", ["cola", "stsb", "mnli"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_figures_are_drawn_as_png_and_as_svg_without_fixed_colours(task: str, count: int, tmp_path: Path) -> None:
    runs = [material(tmp_path / f"run{seed}", get_task(task), seed=seed) for seed in range(count)]
    report = build_report(runs)
    found = {drawing.name: drawing for drawing in drawings(report)}
    kind = "scatter" if get_task(task).is_regression else "confusion"
    assert {name for name in found if name.startswith(kind)} == (
        {kind} if count == 1 else {f"{kind}-{number}" for number in range(1, count + 1)}
    )
    assert ("comparison" in found) == (report.comparison is not None) == (count == 2)
    assert ("calibration" in found) == (kind == "confusion")
    for drawing in found.values():
        assert drawing.png.startswith(b"\x89PNG")
        ElementTree.fromstring(drawing.svg)  # valid XML
        assert "var(--series-1)" in drawing.svg or drawing.name not in ("slices", "calibration", "confusion")
        assert not any(colour in drawing.svg for colour in SERIES)
        assert drawing.text.endswith(".")
    html = page(report, list(found.values()))
    assert len(html) < 1_000_000
    assert html.count("<svg") == len(found)


def test_long_and_odd_names_fit(tmp_path: Path) -> None:
    task = replace(get_task("mnli"), labels=("a label of many words and more", "_under", "$x^2$"))
    runs = [material(tmp_path / ("_" * 30 + "long" * 20) / f"_{seed}", task, seed=seed) for seed in range(2)]
    for drawing in drawings(build_report(runs)):
        if drawing.name in ("calibration", "slices"):
            assert "_0" in drawing.svg
        if drawing.name.startswith("confusion"):
            assert all(name in drawing.svg for name in ("a label of many w…", "_under", "$x^2$"))


def test_a_figure_is_the_same_each_time(tmp_path: Path) -> None:
    report = build_report([material(tmp_path / "a", get_task("rte"))])
    assert drawings(report) == drawings(report)


def test_figures_of_few_rows(tmp_path: Path) -> None:
    one = material(tmp_path / "a", get_task("rte"), rows=1)
    none = replace(one, predicted=replace(one.predicted, probabilities=None), texts=Texts(problem="They are gone."))
    for small in (one, none):
        html = html_of(build_report([small]))
        assert "Learning curves" not in html
    assert "They are gone." in html
    score = replace(material(tmp_path / "b", get_task("stsb"), rows=1))
    assert "undefined" in html_of(build_report([score]))
    assert "undefined for one of the runs" in html_of(build_report([score, replace(score, run=Run(tmp_path / "c"))]))


def test_rare_labels_share_a_row_of_the_matrix(tmp_path: Path) -> None:
    names = tuple(f"label {number}" for number in range(60))
    task = replace(get_task("sst2"), labels=names, file_labels=names, metrics=("accuracy", "macro_f1"))
    report = build_report([material(tmp_path / "a", task, rows=500)])
    labels, counts = group_labels(names, report.runs[0].confusion or [])
    assert len(labels) == 12
    assert labels[-1] == "(49 others)"
    assert counts.sum() == 500
    assert "(49 others)" in html_of(report)


def test_a_long_curve_is_thinned_out_to_means() -> None:
    curve = Curve(list(range(1000)), [float(step % 2) for step in range(1000)])
    found = thin_out(curve, 100)
    assert found.steps == list(range(9, 1000, 10))
    assert found.values == [0.5] * 100
    assert thin_out(found, 100) == found


def test_names_distinguish_runs() -> None:
    assert names_of([Path("/x/logs/rte/version_0")]) == ["rte/version_0"]
    assert names_of([Path("/x/rte/version_0"), Path("/x/rte/version_1")]) == ["rte/version_0", "rte/version_1"]
    assert names_of([Path("/x/a/rte/version_0"), Path("/x/b/rte/version_0")]) == ["a", "b"]
    suite = [
        Path(f"/s/{name}/lightning_logs/rte/version_0") for name in ("m/rte/seed_0", "m/rte/seed_1", "n/rte/seed_1")
    ]
    assert names_of(suite) == ["m/seed_0", "m/seed_1", "n/seed_1"]
    assert names_of([Path("/rte/version_0"), Path("/x/rte/version_0")]) == ["rte/version_0", "x"]
    assert names_of([Path("/run")]) == ["run"]


def test_p_values_and_control_characters_are_written_out() -> None:
    assert [p_value(p) for p in (0.0004, 0.0321, 1.0)] == ["less than 0.001", "0.032", "1.000"]
    assert visible("a\tb\nc\u200d\x7f") == "a\tb\nc\u200d[U+007F]"
