"""The zip itself: written, and every way in which one that others made can be wrong."""

import contextlib
import errno
import io
import os
import random
import re
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from glue_lit.errors import DataError, RunError
from glue_lit.outputs.submission import ENTRIES, filled_text
from glue_lit.outputs.submission_zip import check_zip, write_zip

ALL = {name: filled_text(entry) for name, entry in ENTRIES.items()}
TEXTS = {name: text for name, text in ALL.items() if name != "QQP.tsv"}  # its 390,965 rows take a second to check


def zipped(files: dict[str, str | bytes]) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content


def problems_of(content: io.BytesIO | Path) -> list[str]:
    """Every line that a check prints; QQP is left out here."""
    found = [message for findings in check_zip(content) for message in findings.messages]
    return [line for line in found if line != "QQP.tsv: missing"]


def changed(name: str, old: str, new: str, count: int = 1) -> dict[str, str | bytes]:
    assert old in TEXTS[name]
    return {**TEXTS, name: TEXTS[name].replace(old, new, count)}


WRONG: list[tuple[str, dict[str, str | bytes], list[str]]] = [
    ("missing", {k: v for k, v in TEXTS.items() if k != "AX.tsv"}, ["AX.tsv: missing"]),
    ("extra", TEXTS | {"read\x1b[31m.txt": "x"}, ["zip: 'read\\x1b[31m.txt' does not belong in a submission; remove it"]),
    ("left by macOS", TEXTS | {"__MACOSX/._CoLA.tsv": "x"}, ["zip: '__MACOSX/._CoLA.tsv' does not belong in a submission; remove it"]),
    ("case", {k.replace("MRPC", "mrpc"): v for k, v in TEXTS.items()}, ["'mrpc.tsv': must be called MRPC.tsv"]),
    ("punctuation", {k.replace("MNLI-mm", "MNLI_mm"): v for k, v in TEXTS.items()}, ["'MNLI_mm.tsv': must be called MNLI-mm.tsv"]),
    ("ending", {k.replace("RTE.tsv", "RTE.txt"): v for k, v in TEXTS.items()}, ["'RTE.txt': must be called RTE.tsv"]),
    ("folder", {k.replace("AX", "sub/AX"): v for k, v in TEXTS.items()}, ["'sub/AX.tsv': must be at the top of the zip, not in a folder"]),
    ("a copy in a folder", TEXTS | {"sub/AX.tsv": ""}, ["zip: 'sub/AX.tsv' does not belong in a submission; remove it"]),
    ("no header", changed("RTE.tsv", "index\tprediction\n", ""), ["RTE.tsv, line 1: '0\\tentailment', the header 'index\\tprediction' is needed"]),
    ("other header", changed("RTE.tsv", "index\tprediction\n", "id,label\n"), ["RTE.tsv, line 1: 'id,label', the header 'index\\tprediction' is needed"]),
    ("row missing", changed("WNLI.tsv", "7\t0\n", ""), ["WNLI.tsv: 145 rows, 146 are needed", "WNLI.tsv: index 7 is missing"]),
    ("rows missing", changed("WNLI.tsv", "7\t0\n8\t0\n9\t0\n", ""), ["WNLI.tsv: 143 rows, 146 are needed", "WNLI.tsv: index 7 to 9 are missing"]),
    ("end missing", changed("WNLI.tsv", "144\t0\n145\t0\n", ""), ["WNLI.tsv: 144 rows, 146 are needed", "WNLI.tsv: index 144 to 145 are missing"]),
    ("doubled", changed("WNLI.tsv", "\n7\t0\n", "\n7\t0\n7\t0\n"), ["WNLI.tsv: 147 rows, 146 are needed", "WNLI.tsv, line 10: index 7 appears twice, first on line 9"]),
    ("out of order", changed("WNLI.tsv", "\n7\t0\n8\t0\n", "\n8\t0\n7\t0\n"), ["WNLI.tsv, line 10: index 7 comes after 8; rows must be in order"]),
    ("too large", changed("WNLI.tsv", "145\t0", "146\t0"), ["WNLI.tsv: index 145 is missing", "WNLI.tsv, line 147: index 146, the last one is 145"]),
    ("empty line", TEXTS | {"WNLI.tsv": TEXTS["WNLI.tsv"] + "\n"}, ["WNLI.tsv: 147 rows, 146 are needed", "WNLI.tsv, line 148: 1 column, 2 are needed (separated by a tab): ''"]),
    ("name for number", changed("SST-2.tsv", "1820\t1", "1820\tpositive"), ["SST-2.tsv, line 1822: prediction 'positive', allowed: 0, 1"]),
    ("space", changed("SST-2.tsv", "1820\t1", "1820\t1 "), ["SST-2.tsv, line 1822: prediction '1 ', allowed: 0, 1"]),
    ("label", changed("AX.tsv", "3\tcontradiction", "3\tno"), ["AX.tsv, line 5: prediction 'no', allowed: entailment, neutral, contradiction"]),
    *((f"score {score!r}", changed("STS-B.tsv", "\n9\t2.701", f"\n9\t{score}"), [f"STS-B.tsv, line 11: prediction {score!r}, allowed: a number from 0 to 5"])
      for score in ("nan", "inf", "5.001", "-0.1", "", " 2", "1_0", "1e99", "\u0663")),
    *((f"index {index!r}", changed("STS-B.tsv", "\n9\t2.701", f"\n{index}\t2.701"), ["STS-B.tsv: index 9 is missing", f"STS-B.tsv, line 11: index {index[:50]!r} is not a number from 0 to 1378"])
      for index in ("x", "-9", "9.0", "", "9" * 5000, "\u0669")),
    ("no tab", changed("STS-B.tsv", "\n9\t2.701", "\n9 2"), ["STS-B.tsv: index 9 is missing", "STS-B.tsv, line 11: 1 column, 2 are needed (separated by a tab): '9 2'"]),
    ("byte order mark", TEXTS | {"CoLA.tsv": "\ufeff" + TEXTS["CoLA.tsv"]}, ["CoLA.tsv, line 1: a byte order mark; save the file as UTF-8 without one"]),
    ("UTF-16", TEXTS | {"CoLA.tsv": TEXTS["CoLA.tsv"].encode("utf-16")}, ["CoLA.tsv: is UTF-16; save it as UTF-8"]),
    ("latin-1", TEXTS | {"CoLA.tsv": TEXTS["CoLA.tsv"].encode().replace(b"\n7\t1", b"\n7\t\xe9")}, ["CoLA.tsv: index 7 is missing", "CoLA.tsv, line 9: byte 0xe9 is not UTF-8"]),
    ("empty", TEXTS | {"CoLA.tsv": ""}, ["CoLA.tsv: is empty"]),
    ("larger than can be", TEXTS | {"WNLI.tsv": "\n" * 100_000}, ["WNLI.tsv: is larger than 9,408 bytes, which a file of 146 rows cannot be"]),
]  # fmt: skip


@pytest.mark.parametrize(("files", "problems"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_reported_line_by_line(files: dict[str, str | bytes], problems: list[str]) -> None:
    assert problems_of(zipped(files)) == problems


def test_only_the_first_problems_of_a_file_are_told() -> None:
    numbers = {"MRPC.tsv": TEXTS["MRPC.tsv"].replace("\t1\n", "\tyes\n"), "x": "", **{f"{n}.md": "" for n in range(20)}}
    found = problems_of(zipped(TEXTS | numbers))
    assert [line for line in found if "MRPC" in line] == [
        *(f"MRPC.tsv, line {line}: prediction 'yes', allowed: 0, 1" for line in range(2, 7)),
        "MRPC.tsv: and 1,720 more",
    ]
    assert sum(line.startswith("zip: ") for line in found) == 6
    assert found[-1] == "zip: and 16 more"
    assert sum(findings.count for findings in check_zip(zipped(TEXTS | numbers))) == 1725 + 21 + 1


def test_the_predicted_labels_are_counted() -> None:
    scores = "index\tprediction\n" + "".join(f"{n}\t{5 if n else 1}\n" for n in range(1379))
    wnli = "index\tprediction\n" + "".join(f"{n}\t{n % 2}\n" for n in range(146))
    found = {f.name: f.predicted for f in check_zip(zipped(TEXTS | {"STS-B.tsv": scores, "WNLI.tsv": wnli}))}
    assert found["STS-B.tsv"] == "1.000 to 5.000, mean 4.997"
    assert found["WNLI.tsv"] == "0: 73, 1: 73"
    assert found["RTE.tsv"] == "entailment: 3,000"


def test_line_ends_of_windows_are_fine() -> None:
    assert problems_of(zipped({k: v.replace("\n", "\r\n") for k, v in TEXTS.items()})) == []


def test_a_file_that_occurs_twice_is_reported() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in TEXTS.items():
            archive.writestr(name, text)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("AX.tsv", TEXTS["AX.tsv"])
    assert problems_of(content) == ["AX.tsv: there are 2 files of this name"]


@pytest.mark.parametrize("content", [b"", b"PK no zip", b"PK\x05\x06" + b"\xff" * 18])
def test_another_file_in_place_of_a_zip_is_reported(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip: not a zip file, or a damaged one"):
        check_zip(tmp_path / "a.zip")
    with pytest.raises(DataError, match="cannot be read"):
        check_zip(tmp_path / "b.zip")
    with pytest.raises(DataError, match="cannot be read"):
        check_zip(tmp_path)


def test_a_file_that_is_far_too_large_is_not_opened(tmp_path: Path) -> None:
    with (tmp_path / "a.zip").open("wb") as file:
        file.truncate(60_000_000)
    with pytest.raises(DataError, match="60,000,000 bytes are too many for a submission"):
        check_zip(tmp_path / "a.zip")


def test_damage_encryption_and_unusual_packing() -> None:
    content = bytearray(zipped(dict(TEXTS)).getvalue())
    at = content.index(b"index\tprediction", content.index(b"RTE.tsv"))
    content[at + 100] ^= 0xFF
    assert problems_of(io.BytesIO(bytes(content))) == [
        "RTE.tsv: is damaged (Bad CRC-32 for file 'RTE.tsv'); create the zip again"
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("AX.tsv", TEXTS["AX.tsv"])
    assert "AX.tsv: is compressed with an unusual method; zip it with deflate" in problems_of(packed)
    locked = bytearray(zipped({"AX.tsv": TEXTS["AX.tsv"]}).getvalue())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "AX.tsv: is encrypted; zip it without a password" in problems_of(io.BytesIO(bytes(locked)))


def test_a_file_that_would_fill_the_memory_whatever_size_it_names() -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AX.tsv", b"0" * (64 << 20))
    lying = bytearray(bomb.getvalue())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = lying.index(signature) + place
        lying[at : at + 4] = (1000).to_bytes(4, "little")
    tracemalloc.start()
    said = [problems_of(bomb), problems_of(io.BytesIO(bytes(lying)))]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "AX.tsv: is larger than 70,720 bytes, which a file of 1,104 rows cannot be" in said[0]
    assert any(line.startswith("AX.tsv: is damaged") for line in said[1])
    assert most < 16 << 20  # of the 64 MB that it unpacks to


def test_random_zips_end_with_a_message() -> None:
    """Bytes of a zip changed at random: problems are listed, or it is said to be none."""
    good = io.BytesIO()
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("WNLI.tsv", "AX.tsv"):
            archive.writestr(name, TEXTS[name])
    generator = random.Random(1)
    for _ in range(1500):
        content = bytearray(good.getvalue())
        for _ in range(generator.choice([1, 2, 5])):
            content[generator.randrange(len(content))] = generator.randrange(256)
        cut = generator.randrange(len(content)) if generator.random() < 0.2 else len(content)
        with contextlib.suppress(DataError):
            assert all(isinstance(line, str) for line in problems_of(io.BytesIO(bytes(content[:cut]))))


def test_a_zip_is_written_whole_and_reproducibly(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "submission.zip"
    write_zip(path, ALL)
    first = path.read_bytes()
    write_zip(path, dict(reversed(ALL.items())))
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == list(ALL)
        assert archive.testzip() is None
        assert {member.external_attr >> 16 for member in archive.infolist()} == {0o100644}  # readable when unpacked
    with pytest.raises(DataError, match=re.escape("AX.tsv: missing")):
        write_zip(path, {k: v for k, v in ALL.items() if k != "AX.tsv"})
    assert path.read_bytes() == first
    assert os.listdir(path.parent) == ["submission.zip"]


def test_a_full_disk_leaves_the_zip_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "submission.zip"
    path.write_text("the one before")

    def full(part: object, name: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("glue_lit.system.files.os.replace", full)
    with pytest.raises(RunError, match=r"Cannot write .*submission\.zip \(No space left on device\)"):
        write_zip(path, ALL)
    assert path.read_text() == "the one before"
    assert os.listdir(tmp_path) == ["submission.zip"]


@pytest.mark.parametrize("name", ["pipe.zip", "/dev/zero"])
def test_pipes_and_folders_are_not_read(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(DataError, match=r"cannot be read \(not a file\)"):
        check_zip(tmp_path / name)
