"""ONNX Runtime as the engine: by name, in batches, on the host or in the memory of a device."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.cloud.engines.tail_of_the_cut import EARLY, ENTRY, LATE, answers, symbols

from isthmus import Bundle, ModelError
from isthmus_cloud.engines.cores import Cores, Share
from isthmus_cloud.engines.ort import OrtEngine, OrtProgram
from isthmus_cloud.engines.ort_session import CPU, CPU_PLACEMENT, Placement, open_session
from isthmus_cloud.engines.seam import Value
from isthmus_cloud.engines.trial import trial_feeds

# The way of tensors that stay on a device, on the one device that is everywhere.
ON_DEVICE = Placement(word="cpu", provider=CPU, memory="cpu")


PLACEMENTS = {
    "host": CPU_PLACEMENT,
    "device": ON_DEVICE,
    "one at a time": replace(CPU_PLACEMENT, one_at_a_time=True),
}


@pytest.fixture(params=PLACEMENTS)
def engine(request: pytest.FixtureRequest) -> OrtEngine:
    return OrtEngine(Cores(1), PLACEMENTS[request.param])


def test_a_program_says_what_it_reads_and_makes(engine: OrtEngine, bundle: Bundle) -> None:
    entry = engine.load(bundle.file(ENTRY))
    assert list(entry.inputs.items()) == [
        ("boundary", "tensor(uint8)"),
        ("boundary/step", "tensor(float)"),
        ("boundary/zero_point", "tensor(uint8)"),
    ]
    assert entry.outputs == ("relu_0",)
    assert entry.sizes == ()
    assert engine.provider == CPU


def test_a_graph_for_one_item_says_so(engine: OrtEngine, bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.file(LATE))
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "one.onnx")
    assert engine.load(tmp_path / "one.onnx").sizes == (1,)


def test_a_provider_that_is_prepared_for_some_sizes_says_which(bundle: Bundle) -> None:
    prepared = Placement(word="cpu", provider=CPU, memory="cpu", behind=(CPU,), largest_batch=3)
    program = OrtProgram(
        bundle.file(LATE),
        {Share(1): open_session(bundle.file(LATE), prepared, 1)},
        prepared,
        Cores(1),
    )
    assert program.sizes == (1, 2, 3)
    assert prepared.for_joins == Placement(word="cpu", provider=CPU, memory="cpu")


def test_a_batch_gives_each_item_its_own_answer(engine: OrtEngine, bundle: Bundle) -> None:
    together = symbols(3)
    alone: list[dict[str, Value]] = [
        {name: np.asarray(value)[index : index + 1] for name, value in together.items()}
        for index in range(3)
    ]
    each = np.concatenate([answers(engine, bundle, feeds) for feeds in alone])
    assert len({row.tobytes() for row in each}) == 3
    assert np.allclose(answers(engine, bundle, together), each, atol=1e-6)


def test_batches_are_joined_where_they_are(engine: OrtEngine, bundle: Bundle) -> None:
    entry, early = engine.load(bundle.file(ENTRY)), engine.load(bundle.file(EARLY))
    picture = trial_feeds(bundle.manifest, bundle.manifest.cuts[0], 2)
    parts = [entry.run(symbols(2))[0], early.run(picture)[0], entry.run(symbols(1, seed=4))[0]]
    on_host = [engine.to_host(part) for part in parts]
    joined = engine.join(parts, axis=0)
    assert type(joined) is type(parts[0])
    assert np.array_equal(engine.to_host(joined), np.concatenate(on_host))
    mixed = engine.join([parts[0], on_host[1]], axis=0)
    assert np.array_equal(engine.to_host(mixed), np.concatenate(on_host[:2]))
    along = engine.join([parts[0], parts[0]], axis=2)
    assert np.array_equal(engine.to_host(along), np.concatenate([on_host[0]] * 2, axis=2))
    assert engine.join([parts[2]], axis=0) is parts[2]


def test_arrays_that_are_no_block_of_memory_are_taken(engine: OrtEngine, bundle: Bundle) -> None:
    feeds = symbols(2)
    values = np.asarray(feeds["boundary"])
    strided = {**feeds, "boundary": values.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0)}
    assert np.array_equal(answers(engine, bundle, strided), answers(engine, bundle, feeds))


def test_a_file_is_loaded_once(engine: OrtEngine, bundle: Bundle) -> None:
    assert engine.load(bundle.file(LATE)) is engine.load(bundle.file(LATE))
    engine.close()


def test_what_is_no_model_is_refused_by_name(engine: OrtEngine, tmp_path: Path) -> None:
    path = tmp_path / "tail-9.onnx"
    path.write_bytes(b"no model at all")
    with pytest.raises(
        ModelError, match=r"tail-9\.onnx.*cannot load.*build the bundle again"
    ) as refused:
        engine.load(path)
    assert len(str(refused.value).splitlines()) == 1


def test_a_failure_is_a_model_error_and_the_next_batch_runs(
    engine: OrtEngine, bundle: Bundle
) -> None:
    late = engine.load(bundle.file(LATE))
    with pytest.raises(ModelError, match=r"tail-1\.onnx: ONNX Runtime failed"):
        late.run({"relu_0": np.zeros((1, 8, 16), np.float32)})
    with pytest.raises(ModelError, match=r"tail-1\.onnx: reads 'relu_0', which neither crossed"):
        late.run({"relu_1": np.zeros((1, 8, 16, 16), np.float32)})
    assert engine.to_host(late.run({"relu_0": np.zeros((1, 8, 16, 16), np.float32)})[0]).size == 10


def test_batches_that_do_not_fit_together_are_a_model_error(bundle: Bundle) -> None:
    engine = OrtEngine(Cores(1), ON_DEVICE)
    real = engine.load(bundle.file(ENTRY)).run(symbols(1))[0]
    with pytest.raises(ModelError, match="2 batches cannot be put together"):
        engine.join([real, np.zeros((1, 8, 4, 4), np.float32)], axis=0)


def test_several_threads_run_one_program(engine: OrtEngine, bundle: Bundle) -> None:
    wanted = [answers(engine, bundle, symbols(2, seed)) for seed in range(4)]
    got: list[np.ndarray | None] = [None] * 4

    def work(seed: int) -> None:
        got[seed] = answers(engine, bundle, symbols(2, seed))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each, right in zip(got, wanted, strict=True):
        assert each is not None
        assert np.array_equal(each, right)


def test_where_two_runs_would_spoil_each_other_the_second_waits(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = OrtEngine(Cores(1), PLACEMENTS["one at a time"])
    late = engine.load(bundle.file(LATE))
    inside, overlaps = threading.Semaphore(1), []
    run = OrtProgram._on_host

    def watched(program: OrtProgram, session: Any, feeds: dict[str, Value]) -> Sequence[Value]:
        overlaps.append(not inside.acquire(blocking=False))
        made = [run(program, session, feeds) for _ in range(20)][-1]
        inside.release()
        return made

    monkeypatch.setattr(OrtProgram, "_on_host", watched)
    feeds = {"relu_0": np.zeros((8, 8, 16, 16), np.float32)}
    threads = [threading.Thread(target=late.run, args=(feeds,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [False] * 4
