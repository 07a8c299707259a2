"""The stand-in for a Triton server, as a test starts and ends it."""

from pathlib import Path

from tests.cloud.engines.triton_stand_in import READY
from tests.commands import Command

__all__ = ["StandIn"]


class StandIn(Command):
    """Ready on `port`, which may be one that an earlier one had; killed when its context ends.

    `pems` are a certificate and its key, for TLS.
    """

    module = "tests.cloud.engines.triton_stand_in"

    def __init__(self, repository: Path, port: int = 0, *pems: Path) -> None:
        super().__init__(repository, f"127.0.0.1:{port}", *pems)
        try:
            self.port = int(self.line(READY).split()[-1])
        except BaseException:
            self.__exit__()
            raise
