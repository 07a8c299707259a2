"""LiteRT's own TFLite schema, as far as it is used: codes of operators and records of options."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

__all__ = ["Activation", "Op", "Padding", "TensorType", "options", "schema"]

Op: Any = schema.BuiltinOperator
Activation: Any = schema.ActivationFunctionType
Padding: Any = schema.Padding
TensorType: Any = schema.TensorType


def options(kind: str, **fields: object) -> tuple[int, object]:
    """An options record, for instance ``options("AddOptions", fusedActivationFunction=1)``."""
    record = getattr(schema, f"{kind}T")()
    for name, value in fields.items():
        assert hasattr(record, name), f"{kind} has no {name}"
        setattr(record, name, value)
    return getattr(schema.BuiltinOptions, kind), record
