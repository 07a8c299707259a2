"""What is served: recorded frames, tails as one graph, and a bundle with given cuts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.bench.edge.test_bench import tiny_items
from tests.partitioner.networks import two_branches

from isthmus import ConfigError, open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.plan import subject as plan_subject
from isthmus_bench.serve.bundle import made_bundle
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.engine import times_of
from isthmus_bench.serve.orders import TimesOrder
from isthmus_bench.serve.recorded import load_case
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, MIXED, Subject, make_subject
from isthmus_bench.serve.tails import Tail, load_spec
from isthmus_models import MODELS

NAME = "efficientnet-lite0"


def test_devices_send_the_smallest_tail_the_whole_input_and_all_cuts(subject: Subject) -> None:
    sent = {name: [each.candidate for each in group] for name, group in subject.served.items()}
    assert sent == {
        DEEPEST: ["cut-256"],
        FORTIETH: ["cut-256"],
        INPUT: ["input-raw"],
        MIXED: ["input-raw", "cut-256"],
    }
    assert "its inputs are noise" in subject.notes[0]


@pytest.mark.parametrize("sends", [DEEPEST, INPUT])
def test_recorded_frames_are_frames_of_the_plan_with_their_answers(
    subject: Subject, sends: str
) -> None:
    (served,) = subject.served[sends]
    case, spec = load_case(served.case), load_spec(served.spec)
    parts = Tail(spec, spec.parts, threads=1)
    assert [output.name for output in onnx.load(spec.whole).graph.output] == list(spec.outputs)
    for item in case.items:
        assert pb.Frame.FromString(item.frame).candidate == case.candidate
        assert item.is_answer(parts.answer(item.raw))
    one, other, _ = case.items
    assert not one.is_answer(other.answer)
    assert not one.is_answer(one.answer[:-4])


@pytest.mark.parametrize("sends", [DEEPEST, INPUT])
def test_a_batch_gives_the_answers_of_its_frames(subject: Subject, sends: str) -> None:
    (served,) = subject.served[sends]
    case, spec = load_case(served.case), load_spec(served.spec)
    whole = Tail(spec, [spec.whole], threads=1)
    (answers,) = whole.run(whole.feeds([item.raw for item in case.items]))
    assert len(answers) == len(case.items)
    for item, answer in zip(case.items, answers, strict=True):
        assert item.is_answer(np.asarray(answer, np.float32).tobytes())


def test_the_engine_is_timed_at_every_size_in_both_forms(subject: Subject) -> None:
    (served,) = subject.served[DEEPEST]
    order = TimesOrder(
        spec=str(served.spec), case=str(served.case), sizes=(1, 4), threads=1, runs=2
    )
    times = times_of(order)
    assert times.parts_ms.keys() == times.whole_ms.keys() == {1, 4}
    assert min(*times.parts_ms.values(), *times.whole_ms.values()) > 0


def test_a_made_bundle_has_nested_cuts_with_tails_that_grow_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(MODELS[NAME], make=two_branches, items=tiny_items, picture_size=32)
    monkeypatch.setattr(plan_subject, "get_model", lambda _: small)
    config = ServeBenchConfig(work=tmp_path)
    said: list[str] = []
    path = made_bundle(config, said.append)
    manifest = open_bundle(path, "cloud").manifest
    cuts = [cut for cut in manifest.cuts if cut.tensors]
    assert [cut.depth for cut in cuts] == list(range(len(cuts)))
    assert len(cuts) >= 2
    assert len({cut.tail[-1] for cut in cuts}) == 1
    assert said
    said.clear()
    assert made_bundle(config, said.append) == path
    assert said == []  # the one that is there
    (path / manifest.cuts[0].tail[0]).write_bytes(b"damaged")
    made_bundle(config, said.append)
    assert said
    open_bundle(path, "cloud")


def test_a_work_folder_that_cannot_be_made_is_refused_before_the_work(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for bundle in (tiny_bundle, None):
        config = ServeBenchConfig(work=tmp_path / "file", bundle=bundle)
        with pytest.raises(ConfigError, match=r"cannot be made .*--work"):
            make_subject(config, ignore)


def ignore(_line: str) -> None:
    """Nobody reads the progress."""
