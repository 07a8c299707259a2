"""How far two files of answers are apart: HERE THERE, and what may differ.

REAL_TOLERANCE bounds the difference of reals, INTEGER_TOLERANCE that of integers in steps, and
MOST_DIFFERING the share of integers that may differ at all. A runtime that is not installed here is
compared with LiteRT, whose kernels are others: there an integer may be one step further off.
"""

import sys
from collections import defaultdict

import numpy as np


def main(here: str, there: str, real: float, integer: float, share: float) -> int:
    """One line for each graph on each runtime; 1 if one is too far off, or if there is none."""
    with np.load(here) as ours, np.load(there) as theirs:
        groups = defaultdict(list)
        for key in theirs.files:
            runtime, _, rest = key.partition("/")
            beside = key if key in ours.files else f"litert/{rest}"
            wanted, got = ours[beside], theirs[key]
            name = f"{runtime} {rest.rpartition('/')[0]}"
            assert got.dtype == wanted.dtype, (key, got.dtype, wanted.dtype)
            groups[name, beside.partition("/")[0], got.dtype.kind == "f"].append((wanted, got))
    good = bool(groups)
    for (name, beside, is_real), pairs in groups.items():
        gaps = np.concatenate([abs(a.astype(float) - b).reshape(-1) for a, b in pairs])
        differing = float((gaps > 0).mean())
        steps = integer + (beside != name.partition(" ")[0])
        is_near = gaps.max() <= (real if is_real else steps)
        is_good = bool(is_near and (is_real or differing <= share))
        good &= is_good
        what = "" if is_real else f", {differing:.3%} of the integers differ"
        print(
            f"   {'ok' if is_good else 'WRONG'}  {name} beside {beside} here: "
            f"{len(pairs)} inputs, largest difference {gaps.max():.2g}{what}"
        )
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])))
