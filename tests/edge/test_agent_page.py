"""The page on the agent shows code that runs."""

import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "agent.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def nobody_listens_at() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def desk(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the page names, in the present folder."""
    (tmp_path / "lite0.bundle").symlink_to(tiny_bundle)
    for name, seed in (("cat.jpg", 1), ("dog.jpg", 2)):
        pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((80, 60)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("desk")
def test_every_block_of_the_page_runs_and_its_tests_pass() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "127.0.0.1:50051" in text
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(text.replace("127.0.0.1:50051", nobody_listens_at())):
        line = text.count("\n", 0, block.start()) + 1
        code = compile("\n" * line + block.group(1), PAGE.name, "exec")
        exec(code, names)  # noqa: S102 - our own page
    tests = [name for name in names if name.startswith("test_")]
    assert len(tests) >= 2
    for name in tests:
        names[name]()
