"""Which of very many hashes are among some wanted ones.

A table by the upper bits of the hash, no larger than it has to be to stay in the processor's cache, passes one value in a
hundred to the exact search.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osler.corpus.compiled import compiled
from osler.corpus.word_hashes import U64

TABLE_BITS = 24  # at most: 16 MB


class Keys(NamedTuple):
    """Sorted different hashes, and a table of 2^bits of them.

    The table answers "certainly not" quickly.
    """

    hashes: U64
    table: NDArray[np.bool_]
    shift: np.uint64  # by which a hash becomes a position in the table


def keys(hashes: U64) -> Keys:
    """`Keys` of the different values in `hashes`."""
    unique = np.unique(hashes)
    bits = min(TABLE_BITS, 8 + len(unique).bit_length())
    made = Keys(unique, np.zeros(1 << bits, np.bool_), np.uint64(64 - bits))
    made.table[unique >> made.shift] = True
    return made


@compiled
def find(hashes: U64, value: np.uint64) -> int:
    """The position of `value` in the sorted `hashes`, else -1.

    For compiled functions, that ask the table first.
    """
    return find_between(hashes, 0, len(hashes), value)


@compiled
def find_between(hashes: U64, low: int, high: int, value: np.uint64) -> int:
    """As `find`, of the values from `low` to `high`, which are sorted."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < end and hashes[low] == value else -1
