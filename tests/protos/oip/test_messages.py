"""Ours are the messages of the public protocol, and they live beside others' of the same names."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st
from tests.protos.oip.models import picture_of, raw_request
from tritonclient.grpc import model_config_pb2, service_pb2

from isthmus.oip.messages import health_pb, pb
from isthmus.oip.wire import MAX_FIELDS, MAX_SHAPE_BYTES, parsed

InputTensor = pb.ModelInferRequest.InferInputTensor
OURS = sorted(vars(pb))
NOT_OURS = {"ModelTransactionPolicy"}


def fields_of(kind: Descriptor) -> set[tuple[object, ...]]:
    """What decides how a message looks on the wire, with those inside it."""
    return {
        (
            field.name,
            field.number,
            field.type,
            field.is_repeated,
            field.message_type.full_name if field.message_type else None,
        )
        for field in kind.fields
    }


@pytest.mark.parametrize("name", OURS)
def test_fields_have_the_numbers_and_types_of_the_public_protocol(name: str) -> None:
    theirs = getattr(service_pb2, name, None) or getattr(model_config_pb2, name)
    todo: list[tuple[Descriptor, Descriptor]] = [(getattr(pb, name).DESCRIPTOR, theirs.DESCRIPTOR)]
    while todo:
        mine, other = todo.pop()
        assert fields_of(mine) <= fields_of(other)
        assert fields_of(mine) or not fields_of(other)
        todo += [(kind, other.nested_types_by_name[kind.name]) for kind in mine.nested_types]


def test_the_messages_are_in_no_pool_that_others_use() -> None:
    assert pb.ModelInferRequest.DESCRIPTOR.file.pool is not descriptor_pool.Default()
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName("isthmus/oip/inference.proto")
    assert health_pb.HealthCheckResponse(status="SERVING").status == 1


def test_a_message_of_ours_is_one_of_theirs() -> None:
    request = raw_request(picture=picture_of(7))
    request.parameters["timeout"].int64_param = 5
    theirs = service_pb2.ModelInferRequest.FromString(request.SerializeToString())
    assert parsed(pb.ModelInferRequest, theirs.SerializeToString()) == request


@given(st.binary(max_size=64))
def test_bytes_are_a_message_or_none(raw: bytes) -> None:
    found = parsed(pb.ModelInferRequest, raw)
    assert found is None or isinstance(found, pb.ModelInferRequest)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x2a\x00" * (MAX_FIELDS + 1),  # empty input tensors
        b"\x3a\x00" * (MAX_FIELDS + 1),  # empty raw contents
        b"\x78\x00" * (MAX_FIELDS + 1),  # a field that nobody knows
        # Behind a group; who skips it wrongly reads a length that hides the rest.
        b"\x0b\x0c\x3a\x00\x3a\x0a\xff\xff\xff\xff\x07" + bytes(5) + b"\x3a\x00" * (MAX_FIELDS + 1),
    ],
)
def test_more_fields_than_any_request_has_are_not_parsed(bomb: bytes) -> None:
    assert parsed(pb.ModelInferRequest, bomb) is None


def test_fields_of_inner_messages_count_too() -> None:
    tensor = pb.ModelInferRequest.InferInputTensor()
    tensor.contents.bytes_contents.extend([b""] * MAX_FIELDS)
    request = pb.ModelInferRequest(inputs=[tensor])
    assert parsed(pb.ModelInferRequest, request.SerializeToString()) is None
    del tensor.contents.bytes_contents[MAX_FIELDS - 3 :]
    request = pb.ModelInferRequest(inputs=[tensor])
    assert parsed(pb.ModelInferRequest, request.SerializeToString()) == request


@pytest.mark.parametrize(
    "field",
    [
        "bool_contents",
        "int_contents",
        "int64_contents",
        "uint_contents",
        "uint64_contents",
        "fp32_contents",
        "fp64_contents",
    ],
)
def test_packed_contents_are_one_field_of_as_many_numbers_as_are_allowed(field: str) -> None:
    tensor = InputTensor()
    getattr(tensor.contents, field).extend([0, 1] * MAX_FIELDS)
    if field in {"int_contents", "int64_contents"}:
        getattr(tensor.contents, field)[0] = -1  # ten bytes
    request = pb.ModelInferRequest(inputs=[tensor])
    raw = request.SerializeToString()
    assert parsed(pb.ModelInferRequest, raw, 2 * MAX_FIELDS) == request
    assert parsed(pb.ModelInferRequest, raw, 2 * MAX_FIELDS - 1) is None


def test_all_packed_contents_of_a_message_count_together() -> None:
    tensor = InputTensor()
    tensor.contents.fp32_contents.extend([1.0] * 10)
    raw = pb.ModelInferRequest(inputs=[tensor, tensor]).SerializeToString()
    assert parsed(pb.ModelInferRequest, raw, 20) is not None
    assert parsed(pb.ModelInferRequest, raw, 19) is None


def test_a_shape_is_no_longer_than_any_tensor_has_dimensions() -> None:
    """A dimension is one byte on the wire and eight in memory."""
    for dimensions, is_taken in ((MAX_SHAPE_BYTES, True), (MAX_SHAPE_BYTES + 1, False)):
        request = pb.ModelInferRequest(inputs=[InputTensor(shape=[1] * dimensions)])
        found = parsed(pb.ModelInferRequest, request.SerializeToString(), 10**9)
        assert (found == request) is is_taken


def test_the_committed_descriptors_hold_both_files() -> None:
    files = [pb.ModelInferRequest.DESCRIPTOR.file, health_pb.HealthCheckRequest.DESCRIPTOR.file]
    found = descriptor_pb2.FileDescriptorProto()
    for file, package in zip(files, ("inference", "grpc.health.v1"), strict=True):
        file.CopyToProto(found)
        assert found.package == package
