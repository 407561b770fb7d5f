"""What a model writes for the items of a generative task.

It writes greedily, so that no seed changes it.

Apart from its scores (osler/evaluation/task_predictions.py), since texts are the costly part: only an edit of this file, or of
what it imports, has them written again.
"""

import polars as pl

from osler.inference.interface import Model, Prompt, Sampling

WRITTEN = pl.Schema(
    {
        "text": pl.String,
        "source_tokens": pl.Int64,  # of the whole prompt
        "generated_tokens": pl.Int64,
        "truncated": pl.Boolean,  # the prompt lost its left end to fit the model
    }
)


def asked_turn(instruction: str, source: str) -> str:
    """The one turn of a prompt.

    It is the instruction, a blank line and the source, or the source alone.
    """
    return "\n\n".join(filter(None, (instruction, source)))


def written(model: Model, rows: pl.DataFrame, limit_tokens: int) -> pl.DataFrame:
    """A row of WRITTEN for each of `rows`, in order.

    Args:
        model: that writes.
        rows: instruction ("" for none), source.
        limit_tokens: of a text.
    """
    turns = [asked_turn(*each) for each in rows.select("instruction", "source").iter_rows()]
    prompts = [Prompt((("user", turn),), ()) for turn in turns]
    texts = model.texts(prompts, Sampling(limit_tokens, temperature=0.0), [0] * len(prompts))
    found = [(text.text.strip(), text.prompt_tokens, text.tokens, text.truncated) for text in texts]
    return pl.DataFrame(found, schema=WRITTEN, orient="row")
