from pathlib import Path

import pytest

from glue_lit.data.file_kinds import similar_file
from glue_lit.data.sources import find_source
from glue_lit.data.tables import FORMATS
from glue_lit.errors import DataError

FILES = [
    ("reveiws.csv", "Did you mean 'reviews.csv'?"),
    ("reviews.cvs", "Did you mean 'reviews.csv'?"),
    ("data/reviews", "Did you mean 'data/reviews.csv'?"),
    ("reviews.xlsx", "Did you mean 'reviews.csv'?"),
    ("my book.xlsx", "It would be an Excel workbook, which is not read. Open it and save the sheet as CSV"),
    ("old.XLS", "It would be an Excel workbook"),
    ("owner/table.ods", "It would be an OpenDocument spreadsheet"),
    ("letter.docx", "It would be a Word document"),
    ("paper.pdf", "It would be a PDF"),
    ("data/all.zip", "It would be a ZIP archive"),
    ("all.csv.gz", "It would be a compressed file"),
    ("rows.json", "Write an object on each line"),
    ("my file", "there is no file or folder 'my file'."),
    ("a/b/c", "there is no file or folder 'a/b/c'."),
    ("C:\\data\\x", "there is no file or folder"),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("reviews.csv", "data/reviews.csv", "squad.csv"):
        (tmp_path / name).write_text("text,label\n")
    return tmp_path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("location", "message"), FILES)
def test_a_file_that_is_not_there_is_not_looked_up_on_the_hub(location: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        find_source(location, is_custom=True)
    assert message in str(caught.value)
    assert ", ".join(FORMATS) in str(caught.value)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("location", [
    "squad", "squad_v1.1", "owner/name", "owner/name.v2", "owner/wiki-1.0:20231101.en", "wikipedia:20231101.en",
    "data/other", "owner/corpus.en",
])  # fmt: skip
def test_the_name_of_a_data_set_is_not_taken_for_a_file(location: str) -> None:
    assert type(find_source(location, is_custom=True)).__name__ == "HubSource"


def test_a_folder_with_a_workbook(place: Path) -> None:
    (place / "data" / "reviews.csv").rename(place / "data" / "train.xlsx")
    with pytest.raises(
        DataError, match=r"holds train\.xlsx\. An Excel workbook is not read. Open it and save the sheet"
    ):
        find_source("data", is_custom=True).open_tables("data")


def test_a_folder_is_not_suggested_for_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "reviews").mkdir()
    assert similar_file(tmp_path / "reviews.csv") == ""
    assert similar_file(tmp_path / "review") == f" Did you mean {str(tmp_path / 'reviews')!r}?"
    (tmp_path / "review.csv").touch()
    assert similar_file(tmp_path / "reviews.csv") == f" Did you mean {str(tmp_path / 'review.csv')!r}?"
