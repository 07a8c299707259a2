"""What a bundle of the tests must answer, computed without the wire, the edge or the cloud room."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from isthmus import Cut, CutTensor, Encoding, Manifest, Picture, Symbols, open_bundle
from isthmus_edge import Answer

AnyArray = NDArray[np.generic]
Probabilities = NDArray[np.float32]
Item = NDArray[np.uint8] | Mapping[str, AnyArray]  # a picture [1,H,W,3], or all inputs by name
Outputs = dict[str, AnyArray]
Orders = Mapping[str, NDArray[np.intp]]


class Reference:
    """The bundle's own graphs, run one after the other, with the quantiser as its formula says.

    `orders` holds the channel order on the wire by boundary tensor: what a stage does to it.
    """

    def __init__(self, bundle: Path, orders: Orders | None = None) -> None:
        self.manifest: Manifest = open_bundle(bundle, "device").manifest
        self._orders = {} if orders is None else orders
        files = {segment.file for chain in self.manifest.chains for segment in chain.segments}
        self._segments = {file: _session(bundle / file) for file in files}
        parts = {file for cut in self.manifest.cuts for file in cut.tail}
        self._parts = {file: _session(bundle / file) for file in parts}

    def unsplit(self, item: Item) -> Probabilities:
        """The probabilities [1,10] of the whole fp32 network."""
        whole = next(cut for cut in self.manifest.cuts if cut.id == "input")
        return _probabilities(self._tail(whole, self._by_name(item)))

    def expected(self, candidate_id: str, item: Item, rung: int | None = None) -> Probabilities:
        """The probabilities [1,10] by way of a candidate, by default at its chosen rung."""
        return _probabilities(self.outputs(candidate_id, item, rung))

    def outputs(self, candidate_id: str, item: Item, rung: int | None = None) -> Outputs:
        """The model's outputs in the manifest's order; see `expected`."""
        candidate = self.manifest.candidate(candidate_id)
        cut = self.manifest.cut_of(candidate)
        held = self._held(cut, cut.depth, item)
        if not candidate.is_local:
            encodings = candidate.rungs[candidate.chosen if rung is None else rung].encodings
            feeds: Outputs = {}
            for tensor, encoding in zip(cut.tensors, encodings, strict=True):
                fed = self._fed(held[tensor.boundary.name], tensor, encoding)
                feeds |= zip(tensor.feeds, fed, strict=True)
            answers = {name: held[name] for name in cut.answers}
            held = self._tail(cut, feeds)
            assert not held.keys() & answers.keys()
            held |= answers
        return {spec.name: held[spec.name] for spec in self.manifest.outputs}

    def is_right(self, answer: Answer, item: Item) -> bool:
        """Whether this is the item's answer, by the way that it says it came."""
        if answer.place == "cloud":
            expected = self.outputs(answer.candidate, item, answer.rung)
        else:
            cut = self.manifest.cut_of(self.manifest.candidate(answer.candidate))
            depth = len(self.manifest.chain_of(cut).segments)
            held = self._held(cut, depth, item)
            expected = {spec.name: held[spec.name] for spec in self.manifest.outputs}
        return list(answer.outputs) == list(expected) and all(
            got.shape == expected[name].shape and np.allclose(got, expected[name], atol=1e-5)
            for name, got in answer.outputs.items()
        )

    def _held(self, cut: Cut, depth: int, item: Item) -> Outputs:
        """Every tensor that the first `depth` segments of the cut's chain read or made."""
        held = self._by_name(item)
        for segment in self.manifest.chain_of(cut).segments[:depth]:
            names = [spec.name for spec in segment.outputs]
            feeds = {spec.name: held[spec.name] for spec in segment.inputs}
            made = self._segments[segment.file].run(names, feeds)
            held |= dict(zip(names, made, strict=True))
        return held

    def _tail(self, cut: Cut, feeds: Outputs) -> Outputs:
        """All that is there behind the parts of a cut's tail, run one after the other."""
        held = dict(feeds)
        for file in cut.tail:
            session = self._parts[file]
            reads = {value.name: held[value.name] for value in session.get_inputs()}
            names = [value.name for value in session.get_outputs()]
            held |= dict(zip(names, session.run(names, reads), strict=True))
        return held

    def _by_name(self, item: Item) -> Outputs:
        if isinstance(item, Mapping):
            return {spec.name: item[spec.name] for spec in self.manifest.inputs}
        (spec,) = self.manifest.inputs
        return {spec.name: item}

    def _fed(self, boundary: AnyArray, tensor: CutTensor, encoding: Encoding) -> list[AnyArray]:
        """What the tail gets for one tensor of the cut."""
        order = self._orders.get(tensor.boundary.name)
        values = boundary if order is None else boundary[:, order]
        known = tensor.quantisation
        match encoding:
            case Symbols(step=step, zero_point=zero_point):
                real = values.astype(np.float64)
                if known is not None:
                    real = (real - known.zero_point) * known.scale
                symbols = np.clip(np.rint(real / step) + zero_point, 0, encoding.levels - 1)
                return [symbols.astype(np.uint8), *_scales(step, zero_point)]
            case Picture(format="jpeg", quality=int(quality)):
                return [_through_jpeg(values, quality)]
            case _ if known is not None:
                return [values, *_scales(known.scale, known.zero_point)]
            case _:
                return [values]


def _scales(step: float, zero_point: int) -> list[AnyArray]:
    return [np.array([step], np.float32), np.array([zero_point], np.uint8)]


def _through_jpeg(picture: AnyArray, quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(picture.view(np.uint8)[0]).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))[np.newaxis]


def _probabilities(outputs: Outputs) -> Probabilities:
    return np.asarray(outputs["probabilities"], np.float32)


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # as on the device: another order of sums, another rounding
    options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
