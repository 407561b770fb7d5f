"""Write osler/corpus/trigrams.txt from English documents: `python -m bench.common_trigrams data/documents/*/*`.

Every second document of each folder counts, so that the others can tell how well the list does; all folders weigh the same.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osler.build.files import write_text
from osler.corpus.documents import document_files
from osler.corpus.scanning_errors import ALPHABET, LAST_LETTER, SPACE, TRIGRAMS, character_classes, trigram_numbers

MINIMUM_SHARE = 1e-6


def shares(texts: pl.Series) -> NDArray[np.float64]:
    """(31, 31, 31) the share of each trigram with a letter in the middle among all such."""
    counts = np.zeros(len(ALPHABET) ** 3)
    for text in texts:
        codes = np.frombuffer(f" {text} ".encode("utf-32-le"), np.uint32)
        numbers = trigram_numbers(character_classes().take(codes, mode="clip"))
        counts += np.bincount(numbers, minlength=len(counts))
    cube = counts.reshape((len(ALPHABET),) * 3)
    cube[:, [number for number in range(len(ALPHABET)) if not SPACE < number <= LAST_LETTER], :] = 0
    normalized: NDArray[np.float64] = cube / cube.sum()
    return normalized


def main(folders: list[Path]) -> None:
    """Write TRIGRAMS."""
    frames = [pl.concat([pl.read_parquet(file, columns=["text"]) for file in document_files(f)]) for f in folders]
    cube = np.mean([shares(frame["text"].gather_every(2)) for frame in frames], axis=0)
    lines = []
    for first, before in enumerate(ALPHABET):
        for middle in range(SPACE + 1, LAST_LETTER + 1):
            thirds = [ALPHABET[third] for third in np.flatnonzero(cube[first, middle] >= MINIMUM_SHARE)]
            if thirds:
                lines.append(before + ALPHABET[middle] + "".join(thirds))
    write_text(TRIGRAMS, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
