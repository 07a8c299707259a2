"""What applications of Ray Serve are called."""

from typing import Any

import msgspec
import pytest
from tests.cloud.replicas.lines import spec_of

from isthmus import Bundle
from isthmus_cloud.replicas.naming import exported_name, is_made, made_name
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import Spec, spec_id

OTHERS: list[dict[str, Any]] = [
    {"path": "/elsewhere"},
    {"fingerprint": "0" * 64},
    {"release": "0.0.1"},
    {"engine": "torch"},
    {"provider": "cuda"},
    {"threads": 3},
    {"max_batch": 1},
    {"hang_s": 5.0},
    {"cuts": ("cut",)},
]


@pytest.fixture
def spec(bundle: Bundle) -> Spec:
    return spec_of(bundle)


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_specs_that_differ_in_anything_are_told_apart(spec: Spec, other: dict[str, Any]) -> None:
    another = msgspec.structs.replace(spec, **other)
    assert spec_id(another) != spec_id(spec)
    assert made_name(another, RaySettings()) != made_name(spec, RaySettings())
    assert spec_id(msgspec.structs.replace(spec)) == spec_id(spec)


@pytest.mark.parametrize("other", [{"most": 2}, {"cpus": 2.0}, {"drain_s": 1.0}], ids=str)
def test_what_has_other_options_has_another_name(spec: Spec, other: dict[str, Any]) -> None:
    given = RaySettings(**other)
    assert made_name(spec, given) != made_name(spec, RaySettings())
    assert exported_name(spec)  # which knows nothing of options


def test_one_that_holds_several_is_called_by_how_many() -> None:
    names = {made_name(None, RaySettings(models=models)) for models in (1, 2, 2)}
    assert len(names) == 2
    assert all(is_made(name) for name in names)


def test_what_a_file_deploys_is_nothing_that_front_ends_have_made(spec: Spec) -> None:
    for cuts in [(), ("cut",), ("auto-1",)]:
        named = msgspec.structs.replace(spec, cuts=cuts)
        assert not is_made(exported_name(named))
        assert is_made(made_name(named, RaySettings()))


def test_cuts_that_differ_in_letters_that_no_name_may_have_stay_apart(spec: Spec) -> None:
    cuts = ["a-b", "a.b", "a/b", "a:b"]
    names = [exported_name(msgspec.structs.replace(spec, cuts=(cut,))) for cut in cuts]
    assert len(set(names)) == len(cuts)
    assert names[0] == f"isthmus-{spec.fingerprint[:12]}-a-b"
    assert all(name.startswith(f"{names[0]}-") and name.isascii() for name in names[1:])
    assert not set("".join(names)) & set("./:")
