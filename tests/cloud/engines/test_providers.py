"""Every provider that can be used here does what the CPU does; the others say why they cannot."""

import threading
from collections.abc import Iterator

import numpy as np
import onnxruntime as ort
import pytest
from tests.cloud.engines.tail_of_the_cut import ENTRY, LATE, answers, symbols

from isthmus import Bundle, ConfigError
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.providers import PROVIDERS, Provider, placements_for
from isthmus_cloud.engines.seam import Engine
from isthmus_cloud.engines.trial import MOST_ERROR, require_agreement

ON_A_GPU = {"tensorrt", "cuda", "webgpu"}
KEEP_TENSORS = {"tensorrt", "cuda"}


def _why_not(word: Provider) -> str:
    try:
        placements_for(word, 1)
    except ConfigError as error:
        return str(error)
    return ""


WHY_NOT: dict[Provider, str] = {word: _why_not(word) for word in PROVIDERS if word != "cpu"}
USABLE = [word for word, reason in WHY_NOT.items() if not reason]


@pytest.fixture(
    params=[pytest.param(word, marks=[pytest.mark.gpu] * (word in ON_A_GPU)) for word in USABLE]
)
def provider(request: pytest.FixtureRequest) -> Provider:
    word: Provider = request.param
    return word


@pytest.mark.parametrize(
    "word", [pytest.param(word, marks=[pytest.mark.gpu] * (word in ON_A_GPU)) for word in WHY_NOT]
)
def test_a_provider_can_be_used_here(word: Provider) -> None:
    if WHY_NOT[word]:
        pytest.skip(f"not tested: {WHY_NOT[word]}")
    assert placements_for(word, 1)[0].word == word


@pytest.fixture
def engine(provider: Provider, bundle: Bundle) -> Iterator[Engine]:
    engine = open_engine("onnxruntime", provider, Cores(1), bundle)
    yield engine
    engine.close()


def close(got: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.linalg.norm(got - wanted) <= MOST_ERROR * np.linalg.norm(wanted))


def test_it_agrees_with_the_cpu(engine: Engine, provider: Provider, bundle: Bundle) -> None:
    names = {each.provider for each in placements_for(provider, 1)}
    assert engine.provider.split()[0] in names
    assert require_agreement(engine, OrtEngine(Cores(1)), bundle) <= MOST_ERROR


@pytest.mark.parametrize("count", [1, 3, 32])
def test_batches_of_any_size_agree(engine: Engine, bundle: Bundle, count: int) -> None:
    wanted = answers(OrtEngine(Cores(1)), bundle, symbols(count))
    assert close(answers(engine, bundle, symbols(count)), wanted)
    sizes = engine.load(bundle.file(LATE)).sizes
    assert not sizes or count in sizes


def test_tensors_stay_on_the_device_until_they_are_wanted(
    engine: Engine, provider: Provider, bundle: Bundle
) -> None:
    entry = engine.load(bundle.file(ENTRY))
    parts = [entry.run(symbols(2))[0], entry.run(symbols(3, seed=4))[0]]
    joined = engine.join(parts, 0)
    if provider in KEEP_TENSORS:
        places = {value.device_name() for value in (*parts, joined)}  # type: ignore[attr-defined]
        assert len(places) == 1
        assert "cpu" not in {place.lower() for place in places}
        assert isinstance(joined, ort.OrtValue)
    on_host = [engine.to_host(part) for part in parts]
    assert np.array_equal(engine.to_host(joined), np.concatenate(on_host))
    mixed = engine.join([parts[0], on_host[1]], 0)
    assert np.array_equal(engine.to_host(mixed), np.concatenate(on_host))


def test_several_workers_run_it_at_once(engine: Engine, bundle: Bundle) -> None:
    wanted = [answers(OrtEngine(Cores(1)), bundle, symbols(2, seed)) for seed in range(4)]
    right: list[bool] = []

    def work(seed: int) -> None:
        got = [answers(engine, bundle, symbols(2, seed)) for _ in range(5)]
        right.extend(close(each, wanted[seed]) for each in got)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 20
