"""What noise does to finished models: loss and distance of instruction rows with noise on their embeddings.

    python -m bench.noised models/cpt-neftune --instructions data/instructions --alpha 0 5 15 --out results/bench/noised.json

Evaluation has no noise. Here it is drawn as NEFTune does, but from numbers that no step of a training draws, the same for all
models. `loss` is nats a label; `distance` is the mean over conversations of the cosine distance of noised from clean
responses (osler/training/consistency.py). The rows are those that the models were trained on, so this says how a model bears
noise, and not what it answers to what it has not seen.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from osler.build.files import write_json
from osler.model.folder import trainable_model
from osler.tokens.shards import PackedRows
from osler.training.batches import batch_noise, batch_of, noise_seed
from osler.training.packed_loss import PackedLoss

NO_STEP = 1 << 31  # of a training: its noise is another


@dataclass(frozen=True)
class NoisedRows:
    """A model on rows with noise."""

    model: str
    alpha: float
    loss: float  # nats a label
    distance: float  # mean of the conversations, 0 to 2
    conversations: int


def noised(model: Path, rows: PackedRows, alpha: float) -> NoisedRows:
    """Loss and distance of the model in a folder on all `rows`; `alpha` 0 has no noise."""
    language_model = trainable_model(model).eval()
    module, hidden = PackedLoss(language_model), language_model.config.hidden_size
    loss, distance, labels, conversations = 0.0, 0.0, 0, 0
    with torch.no_grad():
        for row in range(len(rows.row_ends_R)):
            batch = batch_of([(rows, row)])
            responses = batch.responses(is_scored=False)
            _, clean_CD = module(*batch.tensors(), responses)
            seeds = [noise_seed(0, NO_STEP, row)]
            batch.noise_BTD = batch_noise(batch.lengths, batch.tokens_BT.shape[1], hidden, alpha, seeds)
            sums = module(*batch.tensors(), replace(responses, clean_CD=clean_CD))
            loss, distance = loss + float(sums[0]), distance + float(sums[2])
            labels, conversations = labels + len(batch.places()), conversations + len(responses.labels_C)
    return NoisedRows(str(model), alpha, loss / max(1, labels), distance / max(1, conversations), conversations)


def main(arguments: Sequence[str] | None = None) -> list[NoisedRows]:
    """Print a line for each model and alpha."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="folders of models; other seeds' are below seeds/")
    parser.add_argument("--instructions", type=Path, default=Path("data/instructions"))
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.0, 5.0, 15.0])
    parser.add_argument("--out", type=Path, help="JSON of the same figures")
    asked = parser.parse_args(arguments)
    rows = PackedRows.open(asked.instructions)
    found = []
    print("| model | alpha | loss | distance | conversations |\n| --- | --- | --- | --- | --- |")
    for model in asked.models:
        for alpha in asked.alpha:
            one = noised(model, rows, alpha)
            print(
                f"| {one.model} | {alpha:g} | {one.loss:.4f} | {one.distance:.4f} | {one.conversations} |", flush=True
            )
            found.append(one)
    if asked.out:
        write_json(asked.out, [asdict(one) for one in found])
    return found


if __name__ == "__main__":
    main()
