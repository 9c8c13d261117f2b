"""Split of a data set into a part to train on and a part that is held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

CASES_PER_HELD_OUT = 5  # of so many, one is


def held_out_of(names: Sequence[str], decided: Mapping[str, bool]) -> dict[str, bool]:
    """Return for each case whether it is held out.

    Hashes of the names choose, within bounds that keep one in five (`CASES_PER_HELD_OUT`) held out from the fifth case
    on, and the first case for training.

    Parameters
    ----------
    names : sequence of str
        In the order that they came.
    decided : mapping from str to bool
        What was decided before, and stays.
    """
    parts = {name: decided[name] for name in names if name in decided}
    for name in names:
        if name not in parts:
            n, n_held_out = len(parts), sum(parts.values())
            least, most = (n + 1) // CASES_PER_HELD_OUT, -(-n // CASES_PER_HELD_OUT)
            chosen = int(hashlib.sha256(name.encode()).hexdigest(), 16) % CASES_PER_HELD_OUT == 0
            parts[name] = n_held_out < least or (chosen and n_held_out < most)
    return parts
