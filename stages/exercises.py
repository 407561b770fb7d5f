"""Stage `exercises@name`: rows of a task's training split, packed as `instruct` packs, for adapters.

Each seed draws rows of its own and has them in seeds/<seed>; the ledger has all others. Ten seconds for 2,000 abstracts.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from osler.build.files import write_parquet
from osler.build.section import BuildError
from osler.build.stage import run
from osler.corpus.ledger import ledger as ledger_frame
from osler.corpus.overlaps import Overlap
from osler.corpus.selection import Licenses, Select
from osler.corpus.withdrawn import listed_names
from osler.evaluation.exercises import STAGE, Exercise, conversations, drawn, training_rows
from osler.evaluation.learned_rows import Guard, every_item, refused
from osler.evaluation.tasks import Task
from osler.model.seeds import SEEDS, Seeds
from osler.tokens.instructions import ledger_row, write_instructions
from osler.tokens.shards import token_dtype


def main(
    raw: tuple[Path, ...],
    items: Path,
    template: Path,
    tokenizer: Path,
    instructions: Path,
    ledger: Path,
    exercise: Exercise,
    task: Task,
    licenses: Licenses,
    overlap: Overlap,
    select: Select,
    sequence_length_tokens: Annotated[int, Field(ge=8)],
    seeds: Seeds,
    name: str,
) -> None:
    """Write packed rows with labels for each seed, and the ledger.

    `raw` has the rows and the list of withdrawn documents.
    """
    from transformers import AutoTokenizer

    if exercise.license not in licenses.allow:
        raise BuildError(
            f"params.yaml: exercise.{name}.license: {exercise.license}: not in `licenses.allow`; add it there"
        )
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.chat_template = template.read_text(encoding="utf-8")
    listed = next(path for path in raw if path.match(select.withdrawn))
    rows, dropped = training_rows(next(path for path in raw if path != listed), exercise, task, name)
    guard = Guard(every_item(items), overlap, select, listed_names(listed))
    leaking = refused(rows, guard, None if task.group is None else exercise.task)
    kept = rows.filter(~rows["item_id"].is_in(list(leaking)))
    width = sequence_length_tokens
    found, too_long = conversations(loaded, kept, exercise.license, width, name)
    dropped += [ledger_row(STAGE, name, doc_id, *why) for doc_id, why in leaking.items()] + too_long
    for seed in seeds:
        chosen, left = drawn(found, exercise, name, seed)
        counts = write_instructions(instructions / SEEDS / str(seed), chosen, width, token_dtype(loaded), seed)
        dropped += left
        packed = f"{counts['tokens']:,} tokens in {counts['rows']:,} packed rows"
        print(f"{name}: seed {seed}: {len(chosen):,} of {len(rows):,} rows, {packed}")
    write_parquet(ledger, ledger_frame(dropped))
    print(f"{name}: {len(leaking):,} rows are asked or withdrawn, {len(too_long):,} too long")


if __name__ == "__main__":
    run(main)
