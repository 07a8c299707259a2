"""What the tests of engines share."""

import importlib.util
from importlib.machinery import ModuleSpec

import onnxruntime as ort
import pytest

from isthmus_cloud.engines import providers

_find_spec = importlib.util.find_spec


@pytest.fixture
def no_plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime as its own wheel left it, whatever plug-ins are installed here."""

    def find_spec(name: str) -> ModuleSpec | None:
        return None if name.startswith("onnxruntime_ep_") else _find_spec(name)

    own = [name for name in ort.get_available_providers() if name not in providers._plugged_in]
    monkeypatch.setattr(ort, "get_available_providers", lambda: own)
    monkeypatch.setattr(providers, "_plugged_in", set())
    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
