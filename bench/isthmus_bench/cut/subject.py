"""What the cut search is timed on: a DAG with costs, by name."""

from dataclasses import dataclass

from isthmus_partitioner.cuts.dag import Costs, Dag

__all__ = ["CutSubject"]


@dataclass(frozen=True, slots=True, eq=False)
class CutSubject:
    """`nodes` are those of the file or the recipe; `dag` has those that depend on an input."""

    name: str
    nodes: int
    dag: Dag
    costs: Costs
