"""The commands of the house, in a scratch checkout whose tools are stand-ins."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = [
    "ruff check", "ruff format", "mypy", "import contracts", "stubs fresh", "dockerfiles", "yaml",
]  # fmt: skip
CHECKERS = ["ruff", "mypy", "lint-imports", "hadolint", "yamllint"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts and the .proto files of this checkout, without an environment."""
    for folder in ("scripts", ".ci"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for proto in (ROOT / "protos").rglob("*.proto"):
        copied = tmp_path / proto.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(proto, copied)
    return tmp_path


def put_tool(folder: Path, name: str, *, status: int = 0) -> None:
    """A command that prints its name and arguments and exits with `status`."""
    folder.mkdir(parents=True, exist_ok=True)
    tool = folder / name
    tool.write_text(f'#!/bin/sh\necho "{name} $*"\nexit {status}\n', encoding="utf-8")
    tool.chmod(0o755)


def use_this_environment(checkout: Path) -> None:
    (checkout / ".venv").symlink_to(sys.prefix)


def run(command: Path, *args: str, tools: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it from a folder that is not the checkout; the commands in `tools` come first."""
    search = os.environ["PATH"]
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{search}" if tools else search}
    return subprocess.run(
        [command, *args],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", ["check", "fuzz", "soak", "stubs", "test"])
def test_a_missing_environment_is_named_with_the_command_that_makes_it(
    checkout: Path, script: str
) -> None:
    ran = run(checkout / "scripts" / script)
    assert ran.returncode == 1
    assert f"{checkout}/.venv" in ran.stderr
    assert "make test" in ran.stderr


def test_the_test_command_hands_its_arguments_to_pytest(checkout: Path) -> None:
    put_tool(checkout / ".venv" / "bin", "pytest")
    ran = run(checkout / "scripts" / "test", "tests/edge", "-k", "link or policy")
    assert ran.stdout.startswith("pytest ")
    assert ran.stdout.endswith(" tests/edge -k link or policy\n")


def test_the_test_command_ends_as_pytest_ends(checkout: Path) -> None:
    put_tool(checkout / ".venv" / "bin", "pytest", status=3)
    assert run(checkout / "scripts" / "test").returncode == 3


def test_a_failing_step_hides_no_other_step(checkout: Path) -> None:
    for name in CHECKERS:
        put_tool(checkout / ".venv" / "bin", name, status=1 if name == "ruff" else 0)
    put_tool(checkout / "scripts", "stubs")
    ran = run(checkout / "scripts" / "check")
    begun = [line.removeprefix("== ") for line in ran.stdout.splitlines() if line[:2] == "=="]
    assert begun == STEPS
    assert ran.stderr == "failed: ruff check\nfailed: ruff format\n"
    assert ran.returncode == 1


def test_the_check_passes_when_every_step_passes(checkout: Path) -> None:
    for name in CHECKERS:
        put_tool(checkout / ".venv" / "bin", name)
    put_tool(checkout / "scripts", "stubs")
    ran = run(checkout / "scripts" / "check")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("status", [0, 2])
def test_ci_tests_and_checks_and_fails_if_one_of_them_fails(checkout: Path, status: int) -> None:
    put_tool(checkout / "bin", "make", status=status)
    ran = run(checkout / ".ci" / "run", tools=checkout / "bin")
    assert ran.stdout == "make test\nmake check\n"
    assert ran.returncode == status


def test_regenerated_stubs_import_each_other_by_their_package(checkout: Path) -> None:
    use_this_environment(checkout)
    assert run(checkout / "scripts" / "stubs").returncode == 0
    service = checkout / "protos" / "isthmus" / "v1" / "split_pb2_grpc.py"
    assert "from isthmus.v1 import split_pb2 as" in service.read_text(encoding="utf-8")
    assert run(checkout / "scripts" / "stubs", "--check").stdout == "stubs are fresh\n"


def test_a_stale_stub_is_named_with_the_command_that_mends_it(checkout: Path) -> None:
    use_this_environment(checkout)
    stubs = checkout / "scripts" / "stubs"
    run(stubs)
    proto = checkout / "protos" / "isthmus" / "v1" / "split.proto"
    proto.write_text(proto.read_text(encoding="utf-8") + "message Late {}\n", encoding="utf-8")
    orphan = proto.with_name("gone_pb2.py")
    orphan.touch()
    ran = run(stubs, "--check")
    assert ran.returncode == 1
    assert "stale: protos/isthmus/v1/split_pb2.py\n" in ran.stderr
    assert "stale: protos/isthmus/v1/gone_pb2.py\n" in ran.stderr
    assert "scripts/stubs regenerates them" in ran.stderr
    run(stubs)
    assert not orphan.exists()
    assert run(stubs, "--check").returncode == 0


def test_stale_descriptors_are_named_and_mended(checkout: Path) -> None:
    use_this_environment(checkout)
    stubs, room = checkout / "scripts" / "stubs", checkout / "protos" / "isthmus" / "oip"
    run(stubs)
    fresh = (room / "descriptors.binpb").read_bytes()
    assert fresh == (ROOT / "protos" / "isthmus" / "oip" / "descriptors.binpb").read_bytes()
    (room / "descriptors.binpb").write_bytes(fresh[:-1])
    ran = run(stubs, "--check")
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (
        1,
        "stale: protos/isthmus/oip/descriptors.binpb",
    )
    proto = room / "health.proto"
    proto.write_text(proto.read_text(encoding="utf-8") + "message Late {}\n", encoding="utf-8")
    assert "stale: protos/isthmus/oip/health_pb2.pyi\n" in run(stubs, "--check").stderr
    run(stubs)
    assert (room / "descriptors.binpb").read_bytes() != fresh
    assert run(stubs, "--check").stdout == "stubs are fresh\n"


def test_a_broken_proto_leaves_the_stubs_as_they_were(checkout: Path) -> None:
    use_this_environment(checkout)
    run(checkout / "scripts" / "stubs")
    room = checkout / "protos" / "isthmus" / "v1"
    before = {stub.name: stub.read_bytes() for stub in room.glob("*_pb2*")}
    (room / "split.proto").write_text("nonsense", encoding="utf-8")
    assert run(checkout / "scripts" / "stubs").returncode != 0
    assert {stub.name: stub.read_bytes() for stub in room.glob("*_pb2*")} == before
