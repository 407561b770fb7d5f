"""One step of the same work in datatrove, run by the interpreter that has it (bench/requirements-peers.txt).

    PEER_PYTHON -m bench.datatrove_step FOLDER STEP CORE

FOLDER holds peer.json: `words` (spacy: datatrove's own; whitespace: str.split in its place), `bands`, `rows_per_band`,
`shingle_words`, `ngram_words`, `tokenizer` (a tokenizer.json), `items` (jsonl of query, label) and `corpus` (a folder).
The index of benchmark n-grams is written with datatrove's own functions but not by its indexer's `run`, which wants lighteval
and the network; making it is not counted.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.word_tokenizers import SpaCyTokenizer, load_word_tokenizer

from bench.measure import measured, pinned


def contamination_index(items: Path, folder: Path, config: NGramsDecontConfig) -> None:
    """Write the hashed n-grams of every item as NGramsDecontIndexer would."""
    NGramsDecontIndexer._requires_dependencies = []
    indexer = NGramsDecontIndexer(str(folder), config=config)
    hashes: set[int] = set()
    for line in items.read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        hashes.update(indexer.compute_hashes(item["label"], item["query"]))
    folder.mkdir(parents=True, exist_ok=True)
    np.array(sorted(hashes), config.hash_config.np_descr).tofile(folder / "items.index.hashes")


def pipelines(folder: Path, settings: dict[str, Any]) -> dict[str, Callable[[], list[Any]]]:
    """The blocks of each step, in datatrove's order."""
    minhash = MinhashConfig(
        n_grams=settings["shingle_words"],
        num_buckets=settings["bands"],
        hashes_per_bucket=settings["rows_per_band"],
    )
    decontamination = NGramsDecontConfig(n_grams=settings["ngram_words"], find_query_ngrams=True)

    def at(name: str) -> str:
        return str(folder / name)

    def read(name: str) -> JsonlReader:
        return JsonlReader(at(name), glob_pattern="*.jsonl")

    def write(name: str) -> JsonlWriter:
        return JsonlWriter(at(name), output_filename="${rank}.jsonl", compression=None)

    return {
        "filter": lambda: [
            JsonlReader(settings["corpus"], glob_pattern="*.jsonl"),
            GopherRepetitionFilter(),
            GopherQualityFilter(),
            write("filtered"),
        ],
        "signatures": lambda: [read("filtered"), MinhashDedupSignature(at("signatures"), config=minhash)],
        "buckets": lambda: [MinhashDedupBuckets(at("signatures"), at("buckets"), config=minhash)],
        "clusters": lambda: [MinhashDedupCluster(at("buckets"), at("remove"), config=minhash)],
        "deduplicate": lambda: [read("filtered"), MinhashDedupFilter(at("remove")), write("deduplicated")],
        "decontaminate": lambda: [
            read("deduplicated"),
            NGramsDecontFilter(at("index"), config=decontamination),
            write("clean"),
        ],
        "tokenize": lambda: [
            read("clean"),
            DocumentTokenizer(at("tokens"), settings["tokenizer"], eos_token="</s>", seed=1),
        ],
    }


def main(folder: Path, step: str, core: int) -> None:
    """Run `step` on `core` and write what it took to <folder>/costs/<step>.json."""
    pinned(core)
    settings = json.loads((folder / "peer.json").read_text(encoding="utf-8"))
    if settings["words"] == "whitespace":
        SpaCyTokenizer.word_tokenize = lambda _, text: text.split()
    load_word_tokenizer("eng").word_tokenize("loads spaCy before the clock starts")
    if step == "decontaminate":
        config = NGramsDecontConfig(n_grams=settings["ngram_words"], find_query_ngrams=True)
        contamination_index(Path(settings["items"]), folder / "index", config)
    blocks = pipelines(folder, settings)[step]()
    # the clusters' step works on one task, the buckets' on one a bucket
    tasks = settings["bands"] if step == "buckets" else 1
    executor = LocalPipelineExecutor(blocks, tasks=tasks, workers=1, logging_dir=str(folder / "logs" / step))
    measured(executor.run, folder / "costs" / f"{step}.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
