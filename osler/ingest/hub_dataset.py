"""The data files of a local copy of a Hugging Face dataset.

As `datasets` finds them.

Either what `save_to_disk` wrote (arrow files named by state.json) or a repository as it is on the Hub (parquet, arrow, jsonl,
csv, by the names of its files or by the configuration in its README). Importing `datasets` takes 1.2 s, so it is imported for
this format only. No data file is read here, and no address but the folder's.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from osler.build.section import BuildError
from osler.ingest.archives import RawFile, listed_files

FORMATS = {"parquet": "parquet", "arrow": "arrow", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "csv": "csv"}
FORMATS |= {"tsv": "csv", "txt": "txt"}


def file_format(name: str) -> str:
    """The format of a data file by its name; "" for none."""
    return FORMATS.get(name.lower().removesuffix(".gz").removesuffix(".zst").rpartition(".")[2], "")


def split_files(folder: Path, split: str | None) -> list[RawFile]:
    """The data files of one split, or of all, sorted by name.

    Raises:
        BuildError: the folder holds no dataset, or no such split.
    """
    if not folder.is_dir():
        raise BuildError(f"{folder}: is no folder; `format` hub reads the folder of a dataset")
    try:
        files = _saved_files(folder) or _repository_files(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{folder}: no dataset that `format` hub can read: {' '.join(str(error).split())}") from None
    if split is not None and split not in files:
        raise BuildError(f"{folder}: has no `split` {split}; it has {', '.join(sorted(files))}")
    return listed_files(folder, [path for name in files for path in files[name] if split in (None, name)])


def _saved_files(folder: Path) -> dict[str, list[Path]]:
    if (folder / "dataset_dict.json").is_file():
        splits = {name: folder / name for name in orjson.loads((folder / "dataset_dict.json").read_bytes())["splits"]}
    elif (folder / "state.json").is_file():
        splits = {str(orjson.loads((folder / "state.json").read_bytes()).get("_split") or "train"): folder}
    else:
        return {}
    return {
        name: [part / one["filename"] for one in orjson.loads((part / "state.json").read_bytes())["_data_files"]]
        for name, part in splits.items()
    }


def _repository_files(folder: Path) -> dict[str, list[Path]]:
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: a README may name files elsewhere
    from datasets import load_dataset_builder

    with TemporaryDirectory() as cache:
        found = load_dataset_builder(str(folder.resolve()), cache_dir=cache).config.data_files
    return {str(name): [Path(path) for path in paths] for name, paths in (found or {}).items()}
