"""Packed rows on disk.

The same rows in however many files, damage found before they are read, tokens counted by origin.
"""

from pathlib import Path

import numpy as np
import pytest

from osler.build.section import BuildError
from osler.tokens.packing import packed
from osler.tokens.shards import (
    Origin,
    PackedRows,
    ShardedRows,
    content_hash,
    verify,
    write_bounds,
    write_manifest,
    write_rows,
)

LENGTHS = [10, 3, 8, 5, 4, 1]  # in rows of 8
WIDTH = 8


def write(folder: Path, rows_a_shard: int) -> Path:
    """Rows of LENGTHS in shards of so many rows.

    A token is 100 times the document plus the place in it.
    """
    folder.mkdir()
    layout = packed(LENGTHS, WIDTH, 1)
    write_rows(
        folder, "tokens", layout, WIDTH, np.dtype("<u2"),
        lambda document, start, length: 100 * document + np.arange(start, start + length),
        shard_bytes=rows_a_shard * WIDTH * 2,
    )  # fmt: skip
    write_bounds(folder, layout, np.arange(6) + 70, np.array([0, 1, 0, 1, 0, 0]))
    write_manifest(folder, {"origins": [{"source": "a", "license": "x"}, {"source": "a", "license": "y"}]})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four rows in two shards."""
    return write(tmp_path / "packed", 3)


def test_rows_are_the_same_in_one_file_or_several(tmp_path: Path, folder: Path) -> None:
    """Two files of three rows and one, or one file of four.

    Equal rows, equal bounds.
    """
    assert [len(np.load(path)) for path in sorted(folder.glob("tokens-*.npy"))] == [3, 1]
    several, one = PackedRows.open(folder), PackedRows.open(write(tmp_path / "one", 99))
    assert several.tokens_RT.shape == one.tokens_RT.shape == (4, WIDTH)
    for row in range(4):
        assert several.tokens_RT[row].tolist() == one.tokens_RT[row].tolist()
        assert several.segment_lengths(row) == one.segment_lengths(row)


def test_pieces_of_a_split_document_join_without_gap_or_overlap(folder: Path) -> None:
    """Each document's tokens in the rows are 0, 1, 2 ... once.

    They are found by the bounds; padding is 0.
    """
    rows = PackedRows.open(folder)
    documents = iter(np.load(folder / "documents.npy").tolist())
    found: dict[int, list[int]] = {}
    for row in range(4):
        place = 0
        for length in rows.segment_lengths(row):
            found.setdefault(next(documents) - 70, []).extend(rows.tokens_RT[row][place : place + length].tolist())
            place += length
        assert not rows.tokens_RT[row][place:].any()
    assert {document: sorted(tokens) for document, tokens in found.items()} == {
        document: [100 * document + place for place in range(length)] for document, length in enumerate(LENGTHS)
    }


def test_one_flipped_bit_anywhere_is_an_error_that_names_the_file(folder: Path) -> None:
    """In each file in turn, at its last byte.

    Put right again, all is well.
    """
    verify(folder)
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    assert len(names) == 6
    for name in names:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BuildError, match=rf"{name}: missing or damaged .* rerun its stage"):
            verify(folder)
        (folder / name).write_bytes(content)
    verify(folder)
    (folder / "tokens-00001.npy").unlink()
    with pytest.raises(BuildError, match="tokens-00001.npy: missing"):
        verify(folder)


def test_the_processes_of_a_machine_share_the_files_and_leave_none_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three processes exactly one finds the damage, whichever file has it."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    for path in [path for path in sorted(folder.iterdir()) if path.name != "manifest.json"]:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        found = 0
        for rank in range(3):
            monkeypatch.setenv("LOCAL_RANK", str(rank))
            try:
                verify(folder)
            except BuildError:
                found += 1
        path.write_bytes(content)
        assert found == 1, path


def test_the_content_of_rows_is_known_from_their_manifest(tmp_path: Path, folder: Path) -> None:
    """Equal rows have equal hashes, without a shard being read.

    Other rows have others; a folder without manifest is read.
    """
    again, other = write(tmp_path / "again", 3), write(tmp_path / "other", 2)
    assert content_hash(folder) == content_hash(again) != content_hash(other)
    before = content_hash(folder)
    (folder / "tokens-00000.npy").unlink()
    assert content_hash(folder) == before
    (folder / "manifest.json").unlink()
    assert content_hash(folder) != before


def test_tokens_by_origin_by_hand() -> None:
    """Rows of 3 + 2 and 4 tokens, counted by origin.

    The middle segment is of origin 1; the first row alone has 3 and 2.
    """
    rows = PackedRows(
        np.zeros((2, 8), np.uint16), np.array([2, 3]), np.array([3, 2, 4], np.int32), None, np.array([0, 1, 0]),
        (Origin("a", "x"), Origin("a", "y")),
    )  # fmt: skip
    assert rows.tokens_by_origin().tolist() == [[3, 2], [4, 0]]


def test_only_the_first_rows_are_opened_when_so_asked(folder: Path) -> None:
    """Two rows of four.

    Their bounds and their tokens by origin, not the others'.
    """
    part, whole = PackedRows.open(folder, 2), PackedRows.open(folder)
    assert len(part.row_ends_R) == 2
    assert part.tokens_by_origin().tolist() == whole.tokens_by_origin()[:2].tolist()


def test_a_row_beyond_the_last_is_no_row(folder: Path) -> None:
    """Row 4 of four is an IndexError.

    Row 3 is the last file's.
    """
    rows = ShardedRows(folder, "tokens")
    with pytest.raises(IndexError):
        rows[4]
    assert rows[3].tolist() == np.load(folder / "tokens-00001.npy")[0].tolist()
