from pathlib import Path

import pytest

from glue_lit.data.rows import Rows, Split
from glue_lit.data.text_hashes import cached_hashes, hash_texts


def test_equal_texts_have_equal_hashes_and_others_have_others() -> None:
    texts = [f"text {n}" for n in range(25_000)]
    hashes = hash_texts([*texts, " text 7\n", "Text 7", "half \ud800"]).tolist()
    assert len(set(hashes)) == len(texts) + 2
    assert hashes[-3] == hashes[7]
    assert hashes[:3] == hash_texts(["text 0", "text 1", "text 2"]).tolist()
    assert hash_texts(["a"]).tolist() == [
        (0xE8B7BE43 << 32 | 0x00620062) - (1 << 64)
    ]  # the same in a cache of any machine
    assert hash_texts([]).tolist() == []


def test_pairs_are_equal_if_both_texts_are() -> None:
    hashes = hash_texts(["a b", "a", "a", "b", " a "], ["c", "b c", "b", "a", "b "]).tolist()
    assert len(set(hashes)) == 4
    assert hashes[4] == hashes[2]


def test_hashes_are_read_from_the_cache(tmp_path: Path) -> None:
    reads = []

    def read() -> Rows:
        reads.append(1)
        return Rows.from_columns([["a", "b"]], [None, None], [2, 5])

    split = Split("test", "test.csv", "1", read)
    for wanted in (1, 1):
        hashes, numbers = cached_hashes(split, tmp_path)
        assert hashes.tolist() == hash_texts(["a", "b"]).tolist()
        assert numbers is not None
        assert numbers.tolist() == [2, 5]
        assert len(reads) == wanted
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"damaged")
    assert cached_hashes(split, tmp_path)[0].tolist() == hash_texts(["a", "b"]).tolist()
    assert len(reads) == 2


@pytest.mark.parametrize("name", ["file/below", "/dev/null"])
def test_a_cache_that_cannot_be_written_is_ignored(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    split = Split("test", "test.csv", "1", lambda: Rows(["a"], None, [None]))
    hashes, numbers = cached_hashes(split, tmp_path / name)
    assert len(hashes) == 1
    assert numbers is None
