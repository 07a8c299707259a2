"""The list of checks, from what the user named."""

from pathlib import Path

import pytest
from tests.edge.doctor.certificates import Listener
from tests.edge.doctor.machine import assert_bad, states

from isthmus_edge import Credentials
from isthmus_edge.doctor import DoctorConfig, diagnose

OF_A_BUNDLE = ("storage", "bundle", "clock")


@pytest.mark.parametrize("name", ["none.bundle", "x" * 300], ids=["missing", "too long"])
def test_a_bundle_that_cannot_be_looked_at_ends_in_findings(tmp_path: Path, name: str) -> None:
    config = DoctorConfig(bundle=tmp_path / name, state=tmp_path, only=OF_A_BUNDLE)
    found = {finding.text: finding for finding in diagnose(config)}
    assert [text for text in found if "the check itself failed" in text] == []
    bad = {finding.id for finding in found.values() if finding.state == "fail"}
    assert {"storage", "bundle.files"} <= bad


def test_a_link_is_looked_at_as_far_as_it_goes_without_a_certificate(tmp_path: Path) -> None:
    """`--tls-ca` names a file that is not there: name and connection are told all the same."""
    with Listener(greeting=b"hello") as listener:
        config = DoctorConfig(
            cloud=f"127.0.0.1:{listener.port}",
            credentials=Credentials(tls_ca=tmp_path / "ca.pem"),
            only=("link",),
        )
        found = diagnose(config)
    assert states(found) == {"link.name": "ok", "link.tcp": "ok", "link": "fail"}
    assert_bad(found[-1], "fail", "ca.pem")


def test_each_of_several_addresses_is_looked_at() -> None:
    with Listener(greeting=b"hello") as one, Listener(greeting=b"hello") as other:
        ports = one.port, other.port
        cloud = ",".join(f"127.0.0.1:{port}" for port in ports)
        found = diagnose(DoctorConfig(cloud=cloud, only=("link",), quick=True))
    assert [finding.id for finding in found].count("link.tcp") == len(ports)
