"""Honest frames of `wire_plan`, each with what has to be held before it: where a fuzz begins."""

from dataclasses import dataclass

import numpy as np

from isthmus import (
    Candidate,
    CutTensor,
    Encoding,
    FrameEncoder,
    Kept,
    Manifest,
    Picture,
    SymbolCoder,
    Symbols,
    decode_frame,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.cases import AnyArray, array_of

VIDEO_FRAMES = 8  # single, key, differences, and the last of them sticky


@dataclass(frozen=True, slots=True)
class Honest:
    """A frame as an encoder of ours makes it."""

    message: bytes
    kept: Kept | None
    tensors: tuple[AnyArray, ...]  # what comes out


def honest_frames(plan: Manifest, seed: int) -> list[Honest]:
    """Every rung of every candidate, alone, for a fast link, and in a moving and a still video."""
    found: list[Honest] = []
    for candidate in plan.candidates:
        for rung in range(len(candidate.rungs)):
            for share in (0.0, 0.9, 1.0):
                values = _values(plan, candidate, rung, seed, share)
                for fast_link in (False, True):
                    frame = _encode(FrameEncoder(), plan, candidate, rung, values, fast_link)
                    found.append(_decoded(plan, candidate, frame, None)[0])
            if any(isinstance(each, Symbols) for each in candidate.rungs[rung].encodings):
                for changing in (0.0, 0.05, 0.4):
                    found += _video(plan, candidate, rung, seed, changing)
    return found


def _values(
    plan: Manifest, candidate: Candidate, rung: int, seed: int, share: float
) -> list[AnyArray]:
    tensors = plan.cut_of(candidate).tensors
    encodings = candidate.rungs[rung].encodings
    pairs = zip(tensors, encodings, strict=True)
    return [_value(*each, seed + index, share) for index, each in enumerate(pairs)]


def _value(tensor: CutTensor, encoding: Encoding, seed: int, share: float) -> AnyArray:
    if isinstance(encoding, Picture):
        height, width, _ = tensor.wire.shape
        rows, columns = np.mgrid[0:height, 0:width]
        planes = [rows * 5 + seed, columns * 7, (rows + columns) * 2]
        picture: AnyArray = np.stack(planes, -1).astype(np.uint8)
        return picture.reshape(tensor.wire.graph_shape)
    if not isinstance(encoding, Symbols):
        return array_of(tensor.wire, seed, share)
    spread = np.random.default_rng(seed).laplace(0, 2, tensor.wire.graph_shape)
    blank, levels, wide = encoding.zero_point, encoding.levels, 1.0
    if tensor.quantisation is not None:  # integers of the head: a step is several of them
        blank, levels, wide = tensor.quantisation.zero_point, 256, 8.0
    spread[np.random.default_rng(seed + 1).random(spread.shape) < share] = 0
    integers: AnyArray = np.clip(np.rint(spread * wide) + blank, 0, levels - 1).astype(np.uint8)
    return integers


def _video(
    plan: Manifest, candidate: Candidate, rung: int, seed: int, changing: float
) -> list[Honest]:
    encoder, kept, found = FrameEncoder(video=True), None, []
    values = _values(plan, candidate, rung, seed, 0.0)
    for number in range(VIDEO_FRAMES):
        fresh = _values(plan, candidate, rung, seed + 100 + number, 0.0)
        random = np.random.default_rng(seed + number)
        values = [
            np.where(random.random(old.shape) < changing, new, old)
            for old, new in zip(values, fresh, strict=True)
        ]
        frame = _encode(encoder, plan, candidate, rung, values, False)
        honest, kept = _decoded(plan, candidate, frame, kept)
        found.append(honest)
    return found


def _encode(
    encoder: FrameEncoder,
    plan: Manifest,
    candidate: Candidate,
    rung: int,
    values: list[AnyArray],
    fast_link: bool,
) -> pb.Frame:
    cut = plan.cut_of(candidate)
    frame = encoder.encode(candidate, cut, rung, values, fast_link=fast_link)
    frame.sequence = 1
    return frame


def _decoded(
    plan: Manifest, candidate: Candidate, frame: pb.Frame, kept: Kept | None
) -> tuple[Honest, Kept | None]:
    tensors, after = decode_frame(frame, candidate, plan.cut_of(candidate), SymbolCoder(), kept)
    return Honest(frame.SerializeToString(deterministic=True), kept, tensors), after
