"""An engine that somebody brings, named by a module and a function."""

import numpy as np
import pytest

from isthmus import Bundle, ConfigError, ModelError
from isthmus_cloud import ServiceConfig
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.seam import AnyArray, Value

HERE = f"python://{__name__}"


class OtherEngine(OrtEngine):
    """Called otherwise, and closed when it is."""

    closed = 0

    @property
    def provider(self) -> str:
        return "other"

    def close(self) -> None:
        type(self).closed += 1
        super().close()


class WrongEngine(OtherEngine):
    """Answers with half of everything."""

    def to_host(self, value: Value) -> AnyArray:
        half: AnyArray = np.multiply(super().to_host(value), 0.5)
        return half


def opened(provider: str, cores: Cores, bundle: Bundle) -> OtherEngine:
    assert (provider, cores.alone) == ("anything", 1)
    assert bundle.manifest.cuts
    return OtherEngine(cores)


def opened_wrong(_provider: str, cores: Cores, _bundle: Bundle) -> WrongEngine:
    return WrongEngine(cores)


def test_a_function_makes_the_engine(bundle: Bundle) -> None:
    engine = open_engine(f"{HERE}:opened", "anything", Cores(1), bundle)
    assert isinstance(engine, OtherEngine)
    assert engine.provider == "other"


def test_one_that_answers_otherwise_is_refused_and_closed(bundle: Bundle) -> None:
    before = OtherEngine.closed
    with pytest.raises(ModelError, match="answers otherwise on other than on CPU"):
        open_engine(f"{HERE}:opened_wrong", "auto", Cores(1), bundle)
    assert WrongEngine.closed == before + 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (f"{HERE}:nobody", "has no attribute 'nobody'; install the package"),
        ("python://no_such_module:opened", "No module named 'no_such_module'; install"),
    ],
)
def test_what_is_not_there_is_named(choice: str, message: str, bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=message):
        open_engine(choice, "auto", Cores(1), bundle)


@pytest.mark.parametrize(
    "choice", ["python://", "python://module", "python://a.b:c.d", "python://;:x"]
)
def test_a_service_is_told_at_once_that_a_name_is_none(choice: str, bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="name a function that makes one"):
        ServiceConfig(bundle=bundle.path, engine=choice)
