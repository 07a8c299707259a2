"""A device's heads in a process of its own, in an environment that may have no ONNX Runtime.

    python head_process.py FOLDER RUNTIME

`chain.json` and `items.npz` lie in the folder; what is held behind every segment goes, by item, to
`<runtime>.npz`.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from isthmus import Chain
from isthmus_edge.runtimes import AnyArray, GraphFiles, Runtimes


def main(folder: Path, runtime: str) -> None:
    """Run the items through the chain."""
    chain = msgspec.json.decode((folder / "chain.json").read_bytes(), type=Chain)
    (only,) = Runtimes(runtime).usable  # type: ignore[arg-type]  # a wrong one is refused
    graphs = [only.load(GraphFiles.of(folder, segment), 1) for segment in chain.segments]
    found: dict[str, AnyArray] = {}
    with np.load(folder / "items.npz", allow_pickle=False) as items:
        for number in range(len(items["pictures"])):
            held = {chain.segments[0].inputs[0].name: items["pictures"][number : number + 1]}
            for graph, segment in zip(graphs, chain.segments, strict=True):
                names = [spec.name for spec in segment.outputs]
                feeds = {spec.name: held[spec.name] for spec in segment.inputs}
                held |= dict(zip(names, graph.run(feeds, names), strict=True))
                found |= {f"{number}/{name}": held[name] for name in names}
    write: Any = np.savez  # in numpy 1 it has no allow_pickle
    write(folder / f"{runtime}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
