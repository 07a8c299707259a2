"""Which files of tests take long; the others take a few seconds at most."""

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

__all__ = ["LONG", "long_first"]

# The longest first, as `scripts/test --durations=0` has them. One that is missing here is no
# failure: the run ends later.
LONG = (
    "tests/partitioner/graph/test_real_models.py",
    "tests/cloud/test_service.py",
    "tests/partitioner/test_lite0.py",
    "tests/partitioner/test_workbench.py",
    "tests/bench/adapt/test_bench.py",
    "tests/partitioner/test_planning_again.py",
    "tests/bench/wire/test_subjects.py",
    "tests/integration/faults/test_cloud.py",
    "tests/integration/faults/test_service_crowd.py",
    "tests/partitioner/planning/test_plan.py",
    "tests/cli/test_usage.py",
    "tests/protos/test_fuzz.py",
    "tests/partitioner/report/test_page.py",
    "tests/cli/test_inputs.py",
    "tests/partitioner/planning/test_trying.py",
    "tests/house/test_docker_kubernetes.py",
    "tests/integration/test_audit.py",
    "tests/cli/test_modelling.py",
    "tests/house/test_privacy.py",
    "tests/bench/edge/test_install.py",
    "tests/cloud/telemetry/test_dashboard_page.py",
    "tests/integration/test_edge_operator.py",
    "tests/partitioner/planning/test_several_tensors.py",
    "tests/integration/faults/test_service_store.py",
    "tests/cli/test_store_verbs.py",
    "tests/integration/test_outages.py",
    "tests/house/test_wheel.py",
    "tests/bench/plan/test_bench.py",
    "tests/partitioner/planning/test_plan_runtimes.py",
    "tests/integration/faults/test_device.py",
    "tests/cli/test_edge.py",
    "tests/edge/profiling/test_profiling_command.py",
    "tests/edge/daemon/test_process.py",
    "tests/integration/test_balance.py",
    "tests/edge/policy/test_switches.py",
    "tests/cli/test_cloud.py",
    "tests/house/test_docker_compose.py",
    "tests/cli/test_profile.py",
    "tests/integration/faults/test_service.py",
    "tests/integration/faults/test_several.py",
    "tests/partitioner/parts/test_memory.py",
)


def long_first(items: Iterable[pytest.Item]) -> Callable[[pytest.Item], tuple[int, int, str]]:
    """A key to sort tests by: those of long files, then the others, files of few tests first, which
    take longer than those of many as a rule."""
    ranks = {file: rank for rank, file in enumerate(LONG)}
    counts = Counter(_file(item) for item in items)

    def key(item: pytest.Item) -> tuple[int, int, str]:
        file = _file(item)
        return ranks.get(file, len(ranks)), counts[file], file

    return key


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
