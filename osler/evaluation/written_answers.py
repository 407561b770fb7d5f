"""The artifact of an evaluation: what one model answered, and what is known of it.

Stages `evaluate` and `evaluate_adapter` write it.
"""

from pathlib import Path

import polars as pl

from osler.build.files import read_json, write_json, write_parquet
from osler.evaluation.answered import Evaluation
from osler.evaluation.settings import Questions
from osler.inference.vllm_backend import check_adapter
from osler.model.numerics import Numerics
from osler.model.seeds import SEEDS, Seeds


def write_answers(
    model: Path,
    encoders: Path,
    heldout: Path,
    items: Path,
    questions: Path,
    template: Path,
    predictions: Path,
    jobs: int,
    numerics: Numerics,
    seeds: Seeds,
    name: str,
    start: Path | None = None,
) -> None:
    """Write the answers of one model, and what is known of it.

    `predictions.parquet` has a row for each item, strategy and seed. `exemplars.parquet` has one for each dev item that
    a strategy has prepared. `generations.parquet` has one for each item of a generative task and seed. `heldout.parquet` has one
    for each document and seed. `experts.parquet` has one for each domain, layer and expert (none for a dense model).

    Beside them `model.json`: the tokens of continued pretraining that the model has seen, null where fine-tuning followed, the
    headline protocol, benchmarks that count in no mean, what the model's card says of it: the hash of its files and its
    provenance, of the first seed, all its seeds, and the encoders that were used.

    Args:
        model: its folder; with `start` it is an adapter of the model there.
        encoders, heldout, items, questions, template: artifacts of those names.
        predictions: out.
        jobs: processes, a seed each.
    """
    asked = Questions.model_validate_json(questions.read_bytes())
    made = model / "provenance.json"
    provenance = read_json(made) if made.is_file() else {}
    if start and asked.evaluate.vllm:
        check_adapter(model.name.removeprefix("adapter-"), provenance["settings"]["adapter"])
    trained = provenance.get("settings", {}).get("seed")
    there = seeds  # of a base that no seed trained: it is the same one under each
    if trained is not None:
        there = tuple(seed for seed in seeds if seed == trained or (model / SEEDS / str(seed)).is_dir())
    written_with = template.read_text(encoding="utf-8")
    evaluation = Evaluation(model, encoders, heldout, items, written_with, asked, numerics, name, there, start)
    found = evaluation.measured(jobs)
    everything = pl.concat([own.predictions for own in found.values()])
    sorted_by = ("strategy", "protocol", "seed", "draw", "item_id")
    write_parquet(predictions / "predictions.parquet", everything.sort(sorted_by))
    for table in ("heldout", "generations"):
        frames = [getattr(own, table) for own in found.values()]
        write_parquet(predictions / f"{table}.parquet", pl.concat(frames, how="diagonal"))
    for kind in ("exemplars", "experts"):
        write_parquet(predictions / f"{kind}.parquet", getattr(found[there[0]], kind))
    facts = {"continued_tokens": provenance.get("continued_tokens"), "protocol": asked.evaluate.protocol}
    facts["beside"], facts["vllm"] = asked.beside, asked.evaluate.vllm.model_dump() if asked.evaluate.vllm else None
    facts["encoders"] = {
        used: read_json(encoders / used / "encoder.json")
        for used in ("embeddings", "bertscore")
        if (encoders / used).is_dir()
    }
    facts |= {"files": found[there[0]].files, "provenance": provenance, "seeds": list(there)}
    write_json(predictions / "model.json", facts)
