"""Write the invented clinic.

Documents in four formats, instructions, items of a benchmark and of tasks, planted faults.

    python -m stages.synthesize        # as DVC runs it; about 1 s

What they are: osler/synthetic/clinic.py. The formats are four so that the default build goes through every reader.
"""

import gzip
import io
import json
from collections.abc import Iterable, Mapping
from csv import writer
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import write_bytes, write_parquet, write_text
from osler.build.stage import run
from osler.synthetic.clinic import (
    benchmark_items,
    clinical_documents,
    clinical_instructions,
    general_instructions,
    town_documents,
)
from osler.synthetic.knowledge import CLINICAL_KINDS, knowledge_base
from osler.synthetic.settings import Synthesize
from osler.synthetic.tasks import findings, readings

LICENSE = "CC0-1.0"


def jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object a line, keys in their order."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def gzipped(text: str) -> bytes:
    """`text` compressed without a time stamp."""
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def main(raw: Path, synthesize: Synthesize) -> None:
    """Write the folder `raw`; its bytes are a function of the params."""
    counts = {"drug": synthesize.drugs, "disease": synthesize.diseases, "town": synthesize.towns}
    everything = knowledge_base(
        counts, synthesize.values_per_attribute, synthesize.entities_in_instructions_fraction, synthesize.seed
    )
    clinical = [entity for entity in everything if entity.kind in CLINICAL_KINDS]
    towns = [entity for entity in everything if entity.kind not in CLINICAL_KINDS]
    items = benchmark_items(synthesize, clinical)
    documents, planted = clinical_documents(synthesize, clinical, items)
    instructions, planted_instructions = clinical_instructions(synthesize, clinical, items)
    of_source = {
        source: [document for document in documents if document["source"] == source]
        for source in ("guidelines", "abstracts", "notes")
    }

    notes = [{"id": document["id"], "text": document["text"], "license": LICENSE} for document in of_source["notes"]]
    half = len(notes) // 2
    for part, rows in enumerate((notes[:half], notes[half:])):
        write_text(raw / "corpus" / "notes" / f"part-{part:05d}.jsonl", jsonl(rows))
    table = io.StringIO()
    sheet = writer(table, lineterminator="\n")
    sheet.writerow(("id", "title", "abstract"))
    sheet.writerows((document["id"], document["title"], document["text"]) for document in of_source["abstracts"])
    write_bytes(raw / "corpus" / "abstracts.csv.gz", gzipped(table.getvalue()))
    columns = ("id", "title", "body")
    frame = pl.DataFrame(
        [[document[column] for document in of_source["guidelines"]] for column in columns], schema=columns
    )
    write_parquet(raw / "corpus" / "guidelines.parquet", frame.rename({"body": "text"}))
    write_bytes(raw / "corpus" / "towns.txt.gz", gzipped("\n\n".join(town_documents(synthesize, towns)) + "\n"))
    write_bytes(raw / "instructions" / "clinical_qa.jsonl.gz", gzipped(jsonl(instructions)))
    write_text(raw / "instructions" / "general_qa.jsonl", jsonl(general_instructions(synthesize, towns)))
    write_text(raw / "benchmark" / "items.jsonl", jsonl(items))
    write_text(raw / "tasks" / "findings.jsonl", jsonl(findings(synthesize, clinical)))
    write_text(raw / "tasks" / "readings.jsonl", jsonl(readings(synthesize, clinical)))
    write_text(raw / "planted.jsonl", jsonl(planted + planted_instructions))


if __name__ == "__main__":
    run(main)
