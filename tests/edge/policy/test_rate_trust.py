"""Audits, policy and rate control together: what has drifted is not advised any more."""

from pathlib import Path

from tests.edge.policy.test_outlook import FakeLink

from isthmus import open_bundle
from isthmus_edge import AgentConfig
from isthmus_edge.policy.outlook import Outlook


def test_a_rung_that_drifted_is_not_advised_for_another_candidate(wide_bundle: Path) -> None:
    manifest = open_bundle(wide_bundle, "device").manifest
    outlook, link = Outlook(manifest, AgentConfig(bundle=wide_bundle)), FakeLink(kbps=60.0)

    def advice(left_ms: float) -> str:
        """For frames of the other one, while the policy does not use them."""
        decision = outlook.decision_for(manifest.candidate("pair"), link, None)
        outlook.at_best_rung(decision, link, left_ms)
        return outlook.rate_advice or ""

    times = range(100, 2_000, 20)
    assert any("floats would fit" in advice(left_ms) for left_ms in times)
    outlook.distrust("floats", 0)
    assert not any("floats would fit" in advice(left_ms) for left_ms in times)
