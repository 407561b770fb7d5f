"""Stage `mix`: the plan of continued pretraining.

How many rows of which source, and what that shows a model, to the token.

Reads the rows' bounds and no token, so a new weight costs seconds here and a training run below. Also the one writer of
metrics/packing.json, from what each `pack` has counted.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from osler.build.files import write_json
from osler.build.section import BuildError
from osler.build.stage import run
from osler.tokens.mixture import Available, Mix, mixture_rates, row_order, seen
from osler.tokens.packing import packing_metrics
from osler.tokens.shards import PackedRows, manifest


class _Plan(NamedTuple):
    sources: dict[str, PackedRows]
    order_N2: npt.NDArray[np.int64]


def main(packed: Path, plan: Path, packing: Path, mix: Mix) -> None:
    """Write plan/plan.json and the metrics `packing`."""
    folders = {path.parent.name: path.parent for path in sorted(packed.rglob("manifest.json"))}
    facts = {source: manifest(folder) for source, folder in folders.items()}
    collections = {source: folder.parent.name for source, folder in folders.items()}
    widths = {fact["sequence_length_tokens"] for fact in facts.values()}
    if len(widths) != 1:
        raise BuildError(f"data/packed: rows of different lengths {sorted(widths)}; run `dvc repro pack`")
    available = {}
    for source, fact in facts.items():
        is_part = mix.clinical_documents == "subset" and collections[source] == "clinical"
        if is_part and not fact["subset"]["rows"]:
            raise BuildError(
                "params.yaml: mix.clinical_documents: subset, but pack.subset is null; name a signal there"
            )
        there = fact["subset"] if is_part else fact
        available[source] = Available(there["rows"], there["tokens"])
    rates = mixture_rates(available, collections, mix)
    opened = {source: PackedRows.open(folders[source], available[source].rows) for source in rates}
    order = row_order(rates, {source: available[source].rows for source in rates}, mix.seed, mix.tokens)
    rows = dict(zip(rates, np.bincount(order[:, 0], minlength=len(rates)).tolist(), strict=True))
    ledger = seen(_Plan(opened, order), len(order))

    sources: dict[str, dict[str, Any]] = {}
    for source, count in rows.items():
        per_license: dict[str, int] = {}
        for entry in ledger:
            if entry["source"] == source:
                per_license[entry["license"]] = per_license.get(entry["license"], 0) + entry["tokens"]
        sources[source] = {
            "collection": collections[source],
            "epochs": round(count / available[source].rows, 4),
            "rows": count,
            "rows_per_token": rates[source],
            "rows_there": available[source].rows,
            "tokens": sum(per_license.values()),
            "tokens_per_license": per_license,
        }
    tokens = sum(entry["tokens"] for entry in ledger)
    if not tokens:
        raise BuildError(f"params.yaml: mix.tokens: {mix.tokens}: no row of a source fits; name more tokens")
    general = sum(entry["tokens"] for entry in sources.values() if entry["collection"] == "general")
    write_json(
        plan / "plan.json",
        {
            "budget_tokens": mix.tokens,
            "clinical_documents": mix.clinical_documents,
            "replay_fraction": round(general / tokens, 6),
            "seed": mix.seed,
            "sources": sources,
            "token_ledger": ledger,
            "tokens": tokens,
        },
    )
    write_json(packing, packing_metrics(facts))
    for source, planned in sources.items():
        print(f"{source}: {planned['tokens']:,} tokens, {planned['epochs']} epochs")


if __name__ == "__main__":
    run(main)
