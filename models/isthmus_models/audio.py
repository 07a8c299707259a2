"""Networks that hear: a speech detector with a state, and a transcriber of notes.

No recording comes with their packages, so voices and instruments are synthesised: harmonics of a
gliding pitch under three formants for speech (Fant, "Acoustic Theory of Speech Production", 1960),
decaying partials for music. A speaker or an instrument is a source; the two parts share none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError
from isthmus_models.drawn import Part
from isthmus_models.items import Items
from isthmus_models.lone_files import lone_file

__all__ = [
    "NOTES_INPUT",
    "NOTES_SAMPLES",
    "SPEECH_RATE",
    "SPEECH_SAMPLES",
    "music",
    "note_transcriber",
    "speech",
    "speech_detector",
    "speech_detector_of_all_rates",
]

SPEECH_RATE = 16_000
SPEECH_SAMPLES = 576  # 512 new ones after the last 64 of the window before
NOTES_RATE = 22_050
NOTES_SAMPLES = 43_844
NOTES_INPUT = "serving_default_input_2:0"
_SILERO = "silero-vad==6.2.3"
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))  # Hz
_FORMANT_WIDTH_HZ = 90.0
_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 5, 9), (0, 4, 7, 11))  # semitones above the root

Signal = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Source:
    """A speaker by pitch and length of the vocal tract, or an instrument by its partials."""

    name: str
    pitch_hz: float
    colour: float


_SPEAKERS: dict[Part, tuple[_Source, ...]] = {
    "calibration": (
        _Source("bass", 98, 0.95), _Source("tenor", 131, 1.0), _Source("alto", 196, 1.1),
    ),
    "evaluation": (_Source("baritone", 112, 0.97), _Source("soprano", 247, 1.16)),
}  # fmt: skip
_INSTRUMENTS: dict[Part, tuple[_Source, ...]] = {
    "calibration": (
        _Source("piano", 131, 1.6), _Source("organ", 98, 0.7), _Source("bell", 262, 2.4),
    ),
    "evaluation": (_Source("guitar", 110, 1.2), _Source("flute", 294, 3.2)),
}  # fmt: skip


def speech_detector() -> Path:
    """Silero VAD 6.2 for 16 kHz (MIT), an LSTM.

    input float32 [N,576], state [2,N,128], sr int64 -> output [N,1], the probability of speech,
    and stateN [2,N,128].
    """
    return lone_file("silero_vad", "data/silero_vad_16k_op15.onnx", _SILERO)


def speech_detector_of_all_rates() -> Path:
    """The same for 8 and 16 kHz: each rate's whole network lies in a branch of one If on `sr`."""
    return lone_file("silero_vad", "data/silero_vad.onnx", _SILERO)


def note_transcriber() -> Path:
    """Spotify's basic-pitch (Apache-2.0): two seconds of sound to notes, onsets and contours.

    [N,43844,1] float32 at 22,050 Hz -> [N,172,88] twice and [N,172,264].
    """
    return lone_file("basic_pitch", "saved_models/icassp_2022/nmp.onnx", "basic-pitch==0.4.0")


def speech(part: Part, count: int) -> Items:
    """Windows for the speech detector, one of voice or of pause, with the state at rest.

    ConfigError for a count below 1.
    """
    _check(count)
    speakers = _SPEAKERS[part]
    voices = [_voice(speaker, count) for speaker in speakers]
    windows = [voices[row % len(speakers)][row // len(speakers)] for row in range(count)]
    arrays = {
        "input": np.stack(windows),
        "state": np.zeros((count, 2, 128), np.float32),
        "sr": np.full(count, SPEECH_RATE, np.int64),
    }
    return arrays, _names(speakers, count)


def music(part: Part, count: int) -> Items:
    """Chords for the transcriber, one or two in each clip. ConfigError for a count below 1."""
    _check(count)
    instruments = _INSTRUMENTS[part]
    clips = [_clip(instruments[row % len(instruments)], row) for row in range(count)]
    return {NOTES_INPUT: np.stack(clips)[..., None]}, _names(instruments, count)


def _check(count: int) -> None:
    if count < 1:
        raise ConfigError(f"{count} items; needed: 1 or more")


def _names(sources: Sequence[_Source], count: int) -> tuple[str, ...]:
    return tuple(sources[row % len(sources)].name for row in range(count))


def _voice(speaker: _Source, windows: int) -> NDArray[np.float32]:
    """Windows [windows,576] of a voice that glides through vowels and pauses now and then."""
    time_s = np.arange(windows * 512 + 64) / SPEECH_RATE
    pitch_hz = speaker.pitch_hz * (1 + 0.12 * np.sin(2 * np.pi * 2.1 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SPEECH_RATE
    vowels = np.array(_VOWELS)[(time_s * 6).astype(int) % len(_VOWELS)] * speaker.colour
    sound = np.zeros_like(time_s)
    for harmonic in range(1, int(4000 / speaker.pitch_hz)):
        distance = (harmonic * pitch_hz[:, None] - vowels) / _FORMANT_WIDTH_HZ
        sound += (1 / (1 + distance**2)).sum(axis=1) / harmonic**0.5 * np.sin(harmonic * phase)
    sound *= np.sin(2 * np.pi * 1.3 * time_s + 0.5) > -0.6
    noise = np.random.default_rng(int(speaker.pitch_hz)).standard_normal(len(time_s))
    sound = (0.1 * sound + 0.003 * noise).astype(np.float32)
    return np.stack(
        [sound[start : start + SPEECH_SAMPLES] for start in range(0, windows * 512, 512)]
    )


def _clip(instrument: _Source, row: int) -> Signal:
    random = np.random.default_rng(1000 * row + int(instrument.pitch_hz))
    sound = np.zeros(NOTES_SAMPLES)
    for start in random.integers(0, NOTES_SAMPLES // 2, 2):
        time_s = np.arange(NOTES_SAMPLES - start) / NOTES_RATE
        root = instrument.pitch_hz * 2 ** (random.integers(0, 12) / 12)
        for semitones in _CHORDS[random.integers(len(_CHORDS))]:
            for partial in range(1, 7):
                tone = np.sin(2 * np.pi * root * 2 ** (semitones / 12) * partial * time_s)
                fading = np.exp(-time_s * partial)
                sound[start:] += tone * fading / partial**instrument.colour
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)
