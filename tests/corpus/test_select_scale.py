"""What `select` reads and holds as the corpus grows."""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure import costs
from bench.select import write_inputs
from osler.corpus import comparisons, screened_parts
from osler.corpus.comparisons import verified_pairs
from osler.corpus.long_parquet import GROUP_ROWS, write_long_parquet
from osler.corpus.near_duplicates import candidate_pairs, components, copies
from osler.corpus.word_hashes import I64
from tests.corpus.test_selection import SCREEN, near, prepared, prose, selected, settings


def split(folder: Path, rows: int) -> int:
    """Cut every source into parts of `rows` documents; the number of parts."""
    count = 0
    for source in sorted((folder / "documents").glob("*/*")):
        documents = pl.read_parquet(source / "part-*.parquet")
        screens, overlaps = (
            pl.read_parquet(folder / kind / source.name / "part-*.parquet") for kind in ("screens", "overlaps")
        )
        folders = (source, folder / "screens" / source.name, folder / "overlaps" / source.name)
        for part in [part for each in folders for part in each.glob("part-*.parquet")]:
            part.unlink()
        for number, part_documents in enumerate(documents.iter_slices(rows)):
            name, ids = f"part-{number:05d}.parquet", part_documents.select("doc_id")
            part_documents.write_parquet(folders[0] / name)
            screens.join(ids, on="doc_id", how="semi", maintain_order="left").write_parquet(folders[1] / name)
            overlaps.join(ids, on="doc_id", how="semi", maintain_order="left").write_parquet(folders[2] / name)
            count += 1
    return count


def texts() -> dict[str, dict[str, str]]:
    """Three sources with exact and near copies of each other."""
    plain = {f"{number}": prose(number) for number in range(40)}
    return {
        "guides": plain,
        "notes": {f"n{key}": near(text, 9) if int(key) % 3 else text for key, text in plain.items() if key != "0"}
        | {"own": prose("own")},
        "towns": {f"t{number}": prose(f"t{number}") for number in range(40)},
    }


def outputs(folder: Path) -> dict[str, bytes]:
    """The bytes of all that the stage writes."""
    return {str(path): path.read_bytes() for path in sorted((folder / "out").rglob("*")) if path.is_file()}


def test_parts_and_batches_of_any_size_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part a source, or seven documents a part; read together, or each alone; one band at a time, or all."""
    folder, config = prepared(tmp_path, texts()), settings(heldout_fraction=0.2, heldout_limit_documents=5)
    found = selected(folder, config)
    assert {why.split()[0] for why in found.values()} == {"keep", "exact_duplicate", "near_duplicate", "heldout"}
    once = outputs(folder)
    assert split(folder, 7) == 18
    for batch_rows, bands_bytes, compared_bytes in ((1, 1, 1), (20, 1 << 26, 500), (1 << 17, 3000, 1 << 28)):
        monkeypatch.setattr(screened_parts, "BATCH_ROWS", batch_rows)
        monkeypatch.setattr(screened_parts, "BANDS_BYTES", bands_bytes)
        monkeypatch.setattr(comparisons, "COMPARED_BYTES", compared_bytes)
        selected(folder, config)
        assert outputs(folder) == once


def opened(folder: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Counter[str]]:
    """How many parts there are, and how often their files are read, by column or "all"."""
    parts, reads = split(folder, rows), Counter[str]()
    read, scan = pl.read_parquet, pl.scan_parquet

    def counted(function: Any) -> Any:
        def reading(files: Any, *rest: Any, **options: Any) -> Any:
            number = len(files) if isinstance(files, list) else 1
            reads["files"] += number
            reads["texts"] += number * ("text" in (options.get("columns") or ()))
            return function(files, *rest, **options)

        return reading

    with monkeypatch.context() as patched:
        patched.setattr(pl, "read_parquet", counted(read))
        patched.setattr(pl, "scan_parquet", counted(scan))
        patched.setattr(comparisons, "COMPARED_BYTES", 1)
        patched.setattr(comparisons, "VERIFIED_BYTES", 1, raising=False)
        selected(folder, settings())
    return parts, reads


def test_reads_grow_with_the_parts_and_not_with_what_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part's texts are read once, into however many comparisons they go; four times the parts, four times the reads."""
    folder = prepared(tmp_path, texts())
    few, reads_of_few = opened(folder, 40, monkeypatch)
    many, reads_of_many = opened(folder, 10, monkeypatch)
    assert (few, many) == (3, 12)
    assert reads_of_few["texts"] <= few
    assert reads_of_many["texts"] <= many
    assert reads_of_many["files"] <= 4.2 * reads_of_few["files"]
    assert reads_of_many["files"] <= 12 * many + 20


@pytest.mark.campaign  # half a minute, and beside other work an allocator's slack may be larger than what is measured
def test_peak_memory_grows_by_less_than_two_hundred_bytes_a_document(tmp_path: Path) -> None:
    """The stage in processes of its own; both sizes have parts of as many documents."""
    peaks = []
    for count in (250_000, 550_000):
        folder = tmp_path / str(count)
        write_inputs(folder, count, SCREEN)
        command = [sys.executable, "-m", "bench.select", "--folder", str(folder)]
        peaks.append(costs(command, folder / "costs.json", folder / "log")["peak_megabytes"] * 1e6)
    assert (peaks[1] - peaks[0]) / 300_000 < 200


@given(st.lists(st.integers(0, 7).map(lambda value: value << 61 | value % 3), max_size=30))
def test_a_copy_is_of_the_first_with_its_hash(values: list[int]) -> None:
    """Every document that is not the first of its hash, with the first; wherever the hash lies in its range."""
    first = {value: place for place, value in reversed(list(enumerate(values)))}
    expected = {(10 + place, 10 + first[value]) for place, value in enumerate(values) if first[value] != place}
    found = copies(np.array(values, np.uint64), np.arange(10, 10 + len(values)))
    assert set(zip(*(numbers.tolist() for numbers in found), strict=True)) == expected


@given(st.lists(st.integers(0, 15).map(lambda value: value << 60), min_size=2, max_size=30))
def test_candidates_are_found_all_over_the_range_of_a_band(values: list[int]) -> None:
    """Equal hashes make pairs, whichever sixteenth they are in."""
    expected = [
        [one, other]
        for one in range(len(values))
        for other in range(one + 1, len(values))
        if values[one] == values[other]
    ]
    assert candidate_pairs([np.array(values, np.uint64)], len(values)).tolist() == expected


@pytest.mark.parametrize("compared_bytes", [1, 700, 1 << 28])
def test_clusters_do_not_depend_on_how_much_is_compared_at_a_time(
    compared_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts are asked for once, in order; the file of shingles leaves nothing behind."""
    monkeypatch.setattr(comparisons, "COMPARED_BYTES", compared_bytes)
    every = [near(prose(number // 4), number % 4) for number in range(40)]
    pairs = np.array([(one, other) for one in range(40) for other in range(one + 1, 40) if (other - one) % 9 < 5])
    asked: list[list[int]] = []

    def texts_of(numbers: I64) -> Iterator[pl.Series]:
        asked.append(numbers.tolist())
        for start in range(0, len(numbers), 7):
            yield pl.Series([every[number] for number in numbers[start : start + 7]])

    sizes = np.array([len(text) for text in every], np.uint32)
    found, similarities = verified_pairs(pairs, sizes, texts_of, 5, 0.7, tmp_path)
    assert asked == [sorted(set(pairs.ravel().tolist()))]
    assert components(found, 40).tolist() == [number - number % 4 for number in range(40)]
    assert ((similarities >= 0.7) & (similarities < 1)).all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [0, 1000, GROUP_ROWS, GROUP_ROWS + 1, 3 * GROUP_ROWS - 5])
def test_a_long_file_is_that_of_one_frame(rows: int, tmp_path: Path) -> None:
    """However the rows came, the bytes are what polars writes of all of them in one piece."""
    numbers = pl.DataFrame({"number": np.arange(rows)})
    ids = numbers.select(doc_id=pl.format("notes/{}", "number"), detail=pl.col("number") % 7)
    ids.write_parquet(tmp_path / "one", compression="zstd", statistics=False)
    cuts = sorted(random.Random(rows).randrange(rows + 1) for _ in range(9))
    frames = [ids[start:end] for start, end in zip([0, *cuts], [*cuts, rows], strict=True)]
    write_long_parquet(tmp_path / "long/pieces", frames, rows, ids.schema)
    assert (tmp_path / "long/pieces").read_bytes() == (tmp_path / "one").read_bytes()
    assert [path.name for path in (tmp_path / "long").iterdir()] == ["pieces"]


def test_the_rows_that_were_announced_must_come(tmp_path: Path) -> None:
    """A file with other rows than the stage counted is an error, and is not written."""
    frame = pl.DataFrame({"number": np.arange(GROUP_ROWS)})
    for announced in (2 * GROUP_ROWS - 1, 2 * GROUP_ROWS + 1):
        with pytest.raises(AssertionError):
            write_long_parquet(tmp_path / "file", [frame, frame], announced, frame.schema)
    assert list(tmp_path.iterdir()) == []
