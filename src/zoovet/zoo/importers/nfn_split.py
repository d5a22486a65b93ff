"""The split of the Small CNN Zoo that Zhou et al. 2023 (NFN) published: a permutation of its rows."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError

__all__ = ["LAST_STEP", "nfn_split", "read_permutation"]

LAST_STEP = 86
"""``step`` of a training's last checkpoint, the only one that the protocol uses."""

_TEST_SHARE, _TRAIN_SHARE = 0.5, 0.8


def nfn_split(permutation: NDArray[np.int64], is_last: NDArray[np.bool_]) -> dict[int, str]:
    """The split of every row that is a last checkpoint.

    Rows are put into the permutation's order and the last checkpoints kept; their second half is the test set. Of the
    first half, shuffled by Python's ``random.Random(0)``, the first 80 % train and the rest validate (Zhou et al. 2023,
    "Permutation Equivariant Neural Functionals", released code).

    Args:
        permutation: [N].
        is_last: [N], which rows are last checkpoints.

    Returns:
        ``train``, ``validation`` or ``test`` by row.
    """
    rows = permutation[is_last[permutation]].tolist()
    num_first = int(_TEST_SHARE * len(rows))
    first = list(range(num_first))
    random.Random(0).shuffle(first)
    num_train = int(_TRAIN_SHARE * num_first)
    splits = dict.fromkeys(rows[num_first:], "test")
    for place, index in enumerate(first):
        splits[rows[index]] = "train" if place < num_train else "validation"
    return splits


def read_permutation(path: Path, num_rows: int) -> NDArray[np.int64]:
    """Read a split file: one integer a line, a permutation of 0 … num_rows - 1.

    The published files begin with one line more, ``0``, the name that pandas gave the column.

    Returns:
        int64 [num_rows].

    Raises:
        ZoovetError: It cannot be read, holds something else than integers, or is no permutation of the rows.
    """
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ZoovetError(f"the split file {path} cannot be read: {error}") from error
    wrong = next(((line, word) for line, word in enumerate(words, 1) if not word.isdecimal()), None)
    if wrong is not None:
        raise ZoovetError(f"the split file {path}, line {wrong[0]}: {wrong[1]!r} is no row number")
    if len(words) == num_rows + 1 and words[0] == "0":
        words = words[1:]
    if len(words) != num_rows:
        raise ZoovetError(
            f"the split file {path} has {len(words)} row numbers, the dataset {num_rows} rows; take the split file of "
            f"this dataset"
        )
    numbers = np.array(words, dtype=np.float64)
    if numbers.max(initial=0) >= num_rows:
        raise ZoovetError(f"the split file {path} names row {numbers.max():.0f}; rows are 0 to {num_rows - 1}")
    permutation = numbers.astype(np.int64)
    counts = np.bincount(permutation, minlength=num_rows)
    if counts.max() > 1:
        row = int(counts.argmax())
        raise ZoovetError(
            f"the split file {path} overlaps with itself: row {row} is there {counts[row]} times; expected is a "
            f"permutation of 0 to {num_rows - 1}"
        )
    return permutation
