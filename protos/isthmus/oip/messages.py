"""The protocol's messages, in a descriptor pool of their own.

Users import Triton's client beside us. It registers the same names in protobuf's default pool, and
two registrations of a name end the process. So ours are made of `descriptors.binpb` in a private
pool, and only type checkers see the generated .pyi files.

    from isthmus.oip.messages import pb

    pb.ModelInferRequest(model_name="lite0")
"""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = ["health_pb", "pb"]

if TYPE_CHECKING:
    from isthmus.oip import health_pb2 as health_pb
    from isthmus.oip import inference_pb2 as pb
else:

    def _messages_of(pool: DescriptorPool, file: str) -> SimpleNamespace:
        found = pool.FindFileByName(file).message_types_by_name
        return SimpleNamespace(**{name: GetMessageClass(kind) for name, kind in found.items()})

    _pool = DescriptorPool()
    _files = Path(__file__).with_name("descriptors.binpb").read_bytes()
    for _file in FileDescriptorSet.FromString(_files).file:
        _pool.AddSerializedFile(_file.SerializeToString())
    pb = _messages_of(_pool, "isthmus/oip/inference.proto")
    health_pb = _messages_of(_pool, "isthmus/oip/health.proto")
