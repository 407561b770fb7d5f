"""Stage `mix`: the plan of continued pretraining: how many rows of which source, and the tokens that makes per license.

Reads manifests only, so a new weight costs a second here and a training run below.
"""

from pathlib import Path

from pydantic import Field

from stages.lib.files import write_json
from stages.lib.mixture import Available, Weights, planned_rows
from stages.lib.section import BuildError, Section
from stages.lib.shards import manifest
from stages.lib.stage import run


class Mix(Section):
    """Section `mix`."""

    tokens: int = Field(ge=1, description="tokens read in continued pretraining, padding not counted")
    maximum_epochs: float = Field(gt=0, description="times that any row may be read")
    weights: Weights


def packed_folders(packed: Path) -> dict[str, Path]:
    """Source -> its folder of packed rows, below `packed` (which holds collections) or one collection."""
    return {path.parent.name: path.parent for path in sorted(packed.rglob("manifest.json"))}


def main(packed: Path, plan: Path, mix: Mix) -> None:
    """Write plan/plan.json."""
    facts = {source: manifest(folder) for source, folder in packed_folders(packed).items()}
    available = {
        source: Available(fact["rows"], fact["tokens"], fact["tokens_per_license"]) for source, fact in facts.items()
    }
    rows = planned_rows(available, mix.weights, mix.tokens, mix.maximum_epochs, "mix")
    widths = {facts[source]["sequence_length_tokens"] for source in rows}
    if len(widths) != 1:
        raise BuildError(f"data/packed: rows of different lengths {sorted(widths)}; run `dvc repro pack`")
    sources = {}
    for source, count in rows.items():
        epochs = count / available[source].rows
        sources[source] = {
            "collection": packed_folders(packed)[source].parent.name,
            "epochs": round(epochs, 4),
            "rows": count,
            "tokens": round(available[source].tokens * epochs),
            "tokens_per_license": {
                name: round(tokens * epochs) for name, tokens in available[source].tokens_per_license.items()
            },
        }
    slots = sum(facts[source]["rows"] for source in facts) * widths.pop()
    write_json(
        plan / "plan.json",
        {
            "sources": sources,
            "tokens": sum(
                round(available[source].tokens * count / available[source].rows) for source, count in rows.items()
            ),
            "packing": {
                "documents_split": sum(fact["documents_split"] for fact in facts.values()),
                "padding_fraction": round(sum(fact["padding_tokens"] for fact in facts.values()) / slots, 6),
            },
        },
    )
    for source, entry in sources.items():
        print(f"{source}: {entry['tokens']:,} tokens, {entry['epochs']} epochs")


if __name__ == "__main__":
    run(main)
