"""docs/wire.md tells the truth: its examples are decoded, its tables compared with the code."""

import ast
import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from isthmus import (
    FORMAT_VERSION,
    Candidate,
    CutTensor,
    Encoding,
    FrameEncoder,
    Kept,
    Lossless,
    Raw,
    Stage,
    SymbolCoder,
    Symbols,
    TensorSpec,
    decode_frame,
    max_payload_bytes,
)
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.cases import DATA_TYPES, AnyArray, candidate_of, cut_of, same

DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```example\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """One block of the document: what is planned, sent and held, and what it means."""

    spec: TensorSpec
    encoding: Encoding
    frame: pb.Frame
    decoded: AnyArray
    reference: AnyArray | None


def examples() -> dict[str, Example]:
    found = {}
    for block in FENCE.findall(DOCUMENT):
        lines = dict(line.split(maxsplit=1) for line in block.splitlines())
        found[lines.pop("what")] = example(lines)
    return found


def example(lines: dict[str, str]) -> Example:
    tensor, encoding = lines["plan"].split("; ")
    data_type, *shape = tensor.split()
    spec = TensorSpec(
        name="t",
        data_type=data_type,  # type: ignore[arg-type]  # checked by the dtype below
        shape=tuple(map(int, shape)),
    )
    reference = lines.get("held")
    return Example(
        spec=spec,
        encoding=encoding_of(encoding),
        frame=frame_of(lines),
        decoded=array_of_text(lines["means"], spec),
        reference=None if reference is None else array_of_text(reference, spec),
    )


def fields_of(text: str) -> dict[str, str]:
    return dict(each.split("=") for each in text.split() if "=" in each)


def encoding_of(text: str) -> Encoding:
    kind, fields = text.split(maxsplit=1)[0], fields_of(text)
    if kind != "symbols":
        exact: dict[str, Encoding] = {"raw": Raw(), "lossless": Lossless()}
        return exact[kind]
    return Symbols(
        levels=int(fields["levels"]),  # type: ignore[arg-type]  # 16 or 256
        step=float(fields["step"]),
        zero_point=int(fields["zero_point"]),
        predictor=fields.get("predictor", "none"),  # type: ignore[arg-type]
    )


def frame_of(lines: dict[str, str]) -> pb.Frame:
    if "frame" in lines:
        return pb.Frame.FromString(bytes.fromhex(lines["frame"]))
    header, data = lines["sent"].split("; ")
    fields = fields_of(header)
    payload = pb.Payload(
        data=bytes.fromhex(data),
        packing=fields["packing"],
        stored=fields.get("stored") == "true",
        mask_bytes=int(fields.get("mask_bytes", "0")),
    )
    reference = 5 if "held" in lines else 0
    return pb.Frame(candidate="c", payloads=[payload], reference=reference)


def array_of_text(text: str, spec: TensorSpec) -> AnyArray:
    """Values as they are written; 3*53 is 53 times a 3."""
    values: list[float] = []
    for word in text.split():
        value, _, times = word.partition("*")
        values += [float(value)] * int(times or 1)
    return np.array(values).astype(spec.data_type).reshape(spec.graph_shape)


def route_of(case: Example) -> tuple[Candidate, CutTensor]:
    """The example's encoding at every rung up to the one that its frame names."""
    rungs = [[case.encoding]] * (case.frame.rung + 1)
    stage = Stage() if isinstance(case.encoding, Symbols) else None
    return (
        candidate_of(*rungs, name=case.frame.candidate),
        CutTensor(boundary=case.spec, wire=case.spec, stage=stage),
    )


@pytest.mark.parametrize("what", examples())
def test_an_example_is_decoded_to_what_it_says(what: str) -> None:
    case = examples()[what]
    candidate, tensor = route_of(case)
    kept = None
    if case.reference is not None:
        kept = Kept(case.frame.reference, candidate.id, 0, {0: case.reference.view(np.uint8)})
    (got,), _ = decode_frame(case.frame, candidate, cut_of(tensor), SymbolCoder(), kept)
    assert same(got, case.decoded)
    assert len(case.frame.payloads[0].data) <= max_payload_bytes(case.spec, case.encoding)


STORED = [
    what
    for what, case in examples().items()
    if case.frame.payloads[0].stored and case.reference is None
]


@pytest.mark.parametrize("what", STORED)
def test_an_example_without_zstd_is_what_the_encoder_writes(what: str) -> None:
    """What zstd writes may change with its release; what is read may not."""
    case = examples()[what]
    candidate, tensor = route_of(case)
    frame = FrameEncoder().encode(candidate, cut_of(tensor), case.frame.rung, [case.decoded])
    assert frame.payloads == case.frame.payloads


def test_there_are_examples_of_every_packing_and_both_frames_and_differences() -> None:
    cases = examples().values()
    packings = {case.frame.payloads[0].packing for case in cases}
    assert packings == set(pb.Packing.values())
    assert {case.frame.payloads[0].stored for case in cases} == {True, False}
    assert any(case.reference is not None for case in cases)
    assert DOCUMENT.count("```") == 2 * len(cases)


def test_the_whole_frame_is_the_one_that_its_text_describes() -> None:
    frame = examples()['Frame: sequence 7, candidate "cut-16", rung 1, mark 1'].frame
    assert (frame.sequence, frame.candidate, frame.rung, frame.mark) == (7, "cut-16", 1, 1)
    assert frame.SerializeToString(deterministic=True).hex(" ") in DOCUMENT


@pytest.mark.parametrize("message", [pb.Frame, pb.Payload])
def test_every_field_stands_in_its_table(message: type[pb.Frame | pb.Payload]) -> None:
    _, table = DOCUMENT.split(
        f"| `{message.DESCRIPTOR.name}` | field | type | |\n|---|---|---|---|\n"
    )
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", table.split("\n\n")[0], re.MULTILINE)
    fields = message.DESCRIPTOR.fields
    assert rows == [(field.name, str(field.number)) for field in fields]


def test_every_packing_stands_beside_its_number() -> None:
    for name, number in pb.Packing.items():
        assert f"`{name}` {number}" in DOCUMENT


def test_every_data_type_stands_beside_its_number() -> None:
    rows = re.findall(r"\| `(\w+)` \| (\d+) (?=\|)", section("Answers"))
    numbers = {f"DATA_TYPE_{name.upper()}": int(number) for name, number in rows}
    assert numbers | {"DATA_TYPE_UNSPECIFIED": 0} == dict(pb.DataType.items())
    assert {name for name, _ in rows} == set(DATA_TYPES)
    assert all(f"`{name}`" in section("What the plan says") for name in DATA_TYPES)


def test_the_versions_are_the_codes() -> None:
    text = section("Versions")
    assert f"Format {FORMAT_VERSION} brought" in text
    assert f"Protocol {PROTOCOL} came with" in text


def section(title: str) -> str:
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


CONSTANTS = re.findall(r"^\| `(\w+)\.([A-Z_]+)` \| ([\d.]+) \|", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize(("module", "name", "value"), CONSTANTS)
def test_a_constant_is_the_codes(module: str, name: str, value: str) -> None:
    assert getattr(importlib.import_module(f"isthmus.{module}"), name) == float(value)


def test_the_documents_zstd_parameters_are_the_codes() -> None:
    stated = re.search(r"parameters are `(.*?)`", DOCUMENT, re.DOTALL)
    assert stated is not None
    source = inspect.getsource(importlib.import_module("isthmus.symbols"))
    for parameter in re.sub(r"\s", "", stated[1]).split(","):
        name, value = parameter.split("=")
        assert f"{name}={'zstandard.STRATEGY_FAST' if name == 'strategy' else value}," in source


def messages_of(module: str) -> list[str]:
    """What a module says when it raises, with … for what is filled in."""
    found = []
    source = inspect.getsource(importlib.import_module(f"isthmus.{module}"))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            text = node.exc.args[0]
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            found.append(
                "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in parts)
            )
    return found


@pytest.mark.parametrize("module", ["frames", "symbols", "lossless"])
def test_every_error_of_the_decoder_stands_in_its_table(module: str) -> None:
    wrapped = "tensor … of candidate …: …"  # names where; the document says so once
    messages = [message for message in messages_of(module) if message != wrapped]
    assert messages
    assert [message for message in messages if f"| `{message}` |" not in DOCUMENT] == []
