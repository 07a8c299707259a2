"""Pictures come back as they were sent, and nothing but the announced picture is ever decoded."""

import io
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, features

from isthmus import ConfigError, PictureFormat, WireError
from isthmus.pictures import available, decode_picture, encode_picture, max_picture_bytes

UInt8Array = NDArray[np.uint8]
Kind = tuple[PictureFormat, int | None]

HEIGHT, WIDTH = 20, 24
KINDS: list[Kind] = [("jpeg", 90), ("webp", 90), ("webp", None), ("avif", 90)]
FORMATS: list[PictureFormat] = ["jpeg", "webp", "avif"]
SIDES = st.integers(1, 64)


def smooth(height: int, width: int, phase: float = 0.0) -> UInt8Array:
    """Two slow waves and a slope: what every picture format is good at."""
    y, x = np.mgrid[0:height, 0:width] / 64
    colours = [128 + 60 * np.sin(2 * x + phase), 100 + 50 * np.cos(2 * y + phase), 90 + 80 * x * y]
    return np.stack(colours, axis=2).clip(0, 255).astype(np.uint8)


def noise(height: int, width: int, seed: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def written(picture_format: str, picture: UInt8Array | Image.Image, **options: object) -> bytes:
    """A file of Pillow's own writer, which knows far more than the wire does."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    target = io.BytesIO()
    image.save(target, picture_format, **options)
    return target.getvalue()


def psnr_db(one: UInt8Array, other: UInt8Array) -> float:
    error = float(np.mean((one.astype(float) - other) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@given(height=SIDES, width=SIDES, seed=st.integers(0, 999))
@settings(deadline=None)
def test_a_lossless_picture_comes_back_bit_for_bit(height: int, width: int, seed: int) -> None:
    picture = noise(height, width, seed)
    payload = encode_picture(picture, "webp", None)
    decoded = decode_picture(payload, "webp", height, width, lossless=True)
    assert np.array_equal(decoded, picture)


@pytest.mark.parametrize("picture_format", FORMATS)
@given(height=SIDES, width=SIDES, phase=st.floats(0, 6))
@settings(deadline=None, max_examples=40)
def test_a_smooth_picture_comes_back_nearly_as_it_was(
    picture_format: PictureFormat, height: int, width: int, phase: float
) -> None:
    picture = smooth(height, width, phase)
    payload = encode_picture(picture, picture_format, 90)
    decoded = decode_picture(payload, picture_format, height, width)
    assert decoded.shape == picture.shape
    assert psnr_db(decoded, picture) > 30


@pytest.mark.parametrize(("picture_format", "quality"), KINDS)
def test_the_wire_carries_files_that_every_reader_reads_alike(
    picture_format: PictureFormat, quality: int | None
) -> None:
    payload = encode_picture(smooth(HEIGHT, WIDTH), picture_format, quality)
    with Image.open(io.BytesIO(payload)) as image:
        assert image.format == picture_format.upper()
        elsewhere = np.asarray(image)
    decoded = decode_picture(payload, picture_format, HEIGHT, WIDTH, lossless=not quality)
    assert np.array_equal(decoded, elsewhere)


@pytest.mark.parametrize("picture_format", FORMATS)
def test_quality_costs_bytes_and_buys_likeness(picture_format: PictureFormat) -> None:
    picture = smooth(64, 64) // 2 + noise(64, 64, 1) // 4
    coarse, fine = (encode_picture(picture, picture_format, quality) for quality in (20, 95))
    assert len(coarse) < len(fine)
    likeness = [psnr_db(decode_picture(p, picture_format, 64, 64), picture) for p in (coarse, fine)]
    assert likeness[0] < likeness[1]


def loud_pictures(height: int, width: int) -> list[UInt8Array]:
    """The noises that cost most: even, black and white, saturated, saturated in blocks of 2x2."""
    extremes = noise(height, width, 1) // 128 * 255
    blocks = np.repeat(np.repeat(extremes, 2, axis=0), 2, axis=1)[:height, :width]
    return [noise(height, width, 2), extremes[..., :1].repeat(3, axis=2), extremes, blocks]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (16, 16), (17, 33), (112, 160)])
@pytest.mark.parametrize(("picture_format", "quality"), KINDS)
def test_no_honest_payload_exceeds_the_receivers_limit(
    picture_format: PictureFormat, quality: int | None, height: int, width: int
) -> None:
    limit = max_picture_bytes(height, width)
    assert limit <= 4 * (height + 15) * (width + 15) + 4096
    finest = quality and 100
    for picture in loud_pictures(height, width):
        assert len(encode_picture(picture, picture_format, finest)) <= limit


def test_a_format_that_is_not_built_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = encode_picture(smooth(HEIGHT, WIDTH), "avif", 60)
    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    assert not available("avif")
    assert available("webp")
    with pytest.raises(ConfigError, match=r"without avif; install .* pillow>="):
        encode_picture(smooth(HEIGHT, WIDTH), "avif", 60)
    with pytest.raises(ConfigError, match=r"without avif; install .* pillow>="):
        decode_picture(payload, "avif", HEIGHT, WIDTH)


def test_an_unknown_format_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'png', allowed are jpeg, webp, avif"):
        encode_picture(smooth(HEIGHT, WIDTH), "png", 60)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("picture_format", "quality"),
    [("jpeg", None), ("avif", None), ("jpeg", 0), ("webp", 101), ("avif", -1)],
)
def test_a_quality_that_the_format_does_not_have_is_refused(
    picture_format: PictureFormat, quality: int | None
) -> None:
    with pytest.raises(ConfigError, match=f"{picture_format} quality is {quality}, allowed"):
        encode_picture(smooth(HEIGHT, WIDTH), picture_format, quality)


def test_a_picture_that_is_too_large_for_its_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="16384x1 cannot be written as webp"):
        encode_picture(np.zeros((1, 16_384, 3), np.uint8), "webp", 80)


@pytest.mark.parametrize("array", ["4 4 uint8", "4 4 4 uint8", "0 4 3 uint8", "4 4 3 float32"])
def test_an_array_that_is_no_picture_is_refused(array: str) -> None:
    *shape, kind = array.split()
    with pytest.raises(WireError, match=r"cannot cross as a picture, expected uint8 \[H,W,3\]"):
        encode_picture(np.zeros([int(side) for side in shape], kind), "jpeg", 80)


# Refusals

PICTURE = smooth(HEIGHT, WIDTH)
HONEST = [encode_picture(PICTURE, *kind) for kind in KINDS]
JPEG, WEBP, LOSSLESS, AVIF = HONEST
FRAME, SCAN = JPEG.index(b"\xff\xc0"), JPEG.index(b"\xff\xda")
ALPHA = Image.fromarray(np.dstack([PICTURE, PICTURE[..., :1]]), "RGBA")
GREY = Image.fromarray(PICTURE[..., 0])
SECOND = {"save_all": True, "append_images": [Image.fromarray(smooth(HEIGHT, WIDTH, 2))]}
ONE_COLOURS_SCAN = b"\xff\xda\x00\x0c\x01\x01\x00"
EXIF = Image.Exif()
EXIF[0x010F] = "the camera's maker"
AV1 = AVIF.index(b"mdat") + 4 + 2  # behind the temporal delimiter
SEQUENCE, BARE_FRAME = AVIF[AV1 : AV1 + 2 + AVIF[AV1 + 1]], b"\x32\x01\x00"
LONG_LENGTH = b"\x0a" + bytes([SEQUENCE[1] | 0x80, 128, 128, 128, 0]) + SEQUENCE[2:] + BARE_FRAME
DEEP_BIT = 5 + 5 + 4 + 4 + 5 + 5 + 6  # of the sequence header of a picture whose sides need 5 bits


def patched(payload: bytes, at: int, new: bytes) -> bytes:
    return payload[:at] + new + payload[at + len(new) :]


def resized(webp: bytes) -> bytes:
    """With the sizes that a WebP of this length must announce."""
    sized = patched(webp, 4, (len(webp) - 8).to_bytes(4, "little"))
    return patched(sized, 16, (len(webp) - 20).to_bytes(4, "little"))


def with_av1_bit_flipped(bit: int) -> bytes:
    at = AV1 + 2 + bit // 8
    return patched(AVIF, at, bytes([AVIF[at] ^ 0x80 >> bit % 8]))


def boxed_avif(units: bytes) -> bytes:
    return AVIF[: AV1 - 10] + (8 + len(units)).to_bytes(4) + b"mdat" + units


Refusals = dict[str, tuple[bytes, str]]
REFUSED_JPEG: Refusals = {
    "nothing": (b"", "begins with , expected a JPEG"),
    "nothing more": (b"\xff\xd8", "no whole segment at byte 2 of 2"),
    "progressive": (written("JPEG", PICTURE, progressive=True), "ffc2"),
    "grey": (written("JPEG", GREY), "8 bits and three colours"),
    "cmyk": (written("JPEG", Image.fromarray(PICTURE).convert("CMYK")), "ffee, expected a base"),
    "12 bit": (patched(JPEG, FRAME + 4, b"\x0c"), "8 bits and three colours"),
    "15 colours": (patched(JPEG, FRAME + 9, b"\x0f"), "8 bits and three colours"),
    "empty scan": (patched(JPEG, SCAN + 2, b"\x00\x02"), "one of three colours"),
    "comment": (written("JPEG", PICTURE, comment=b"hello"), "fffe"),
    "exif": (written("JPEG", PICTURE, exif=EXIF), "ffe1"),
    "two scans": (JPEG[:-2] + JPEG[SCAN:], r"\(ffda\), expected at byte"),
    "one colour's scan": (patched(JPEG, SCAN, ONE_COLOURS_SCAN), "one of three colours"),
    "two frames": (JPEG[: FRAME + 19] + JPEG[FRAME:], "expected one"),
    "no frame": (JPEG[:FRAME] + JPEG[FRAME + 19 :], "no frame header"),
    "no tables": (JPEG[:20] + JPEG[FRAME:], "no whole JPEG of 24x20"),
    "truncated": (JPEG[:-9], "scan ends nowhere"),
    "truncated header": (JPEG[: FRAME + 9], f"at byte {FRAME} of {FRAME + 9}"),
    "garbage": (JPEG + b"more", f"ends at byte {len(JPEG) - 2}"),
    "twice": (JPEG + JPEG, f"ends at byte {len(JPEG) - 2}"),
    "png": (written("PNG", PICTURE), "expected a JPEG"),
    "avif": (AVIF, "expected a JPEG"),
}
REFUSED_WEBP: Refusals = {
    "nothing": (b"", "expected a WebP"),
    "animated": (written("WEBP", PICTURE, **SECOND), "b'VP8X', expected"),
    "alpha": (written("WEBP", ALPHA), "b'VP8X', expected"),
    "lossless alpha": (written("WEBP", ALPHA, lossless=True), "no alpha"),
    "exif": (written("WEBP", PICTURE, exif=EXIF), "b'VP8X', expected"),
    "truncated": (WEBP[:-2], f"got {len(WEBP) - 2}"),
    "other size": (patched(WEBP, 4, b"\xff"), "announces .* bytes with a chunk of"),
    "other chunk": (patched(WEBP, 16, b"\xff"), "announces .* with a chunk of"),
    "shortened": (resized(WEBP[:40]), "no whole WEBP of 24x20"),
    "lossless shortened": (resized(LOSSLESS[:40]), "no whole WEBP of 24x20"),
    "header only": (resized(WEBP[:26]), "expected a key frame"),
    "garbage": (WEBP + b"more", f"got {len(WEBP) + 4}"),
    "between frames": (patched(WEBP, 20, b"\x31"), "expected a key frame"),
    "scaled": (patched(WEBP, 27, b"\x40"), "without scaling"),
    "jpeg": (JPEG, "expected a WebP"),
}
REFUSED_AVIF: Refusals = {
    "nothing": (b"", "expected a whole 'ftyp'"),
    "animated": (written("AVIF", PICTURE, **SECOND), "b'avis'"),
    "alpha": (written("AVIF", ALPHA), "expected one picture without alpha"),
    "grey": (written("AVIF", GREY), "8-bit colour still picture"),
    "4:4:4": (written("AVIF", PICTURE, subsampling="4:4:4"), "of profile 0"),
    "video range": (written("AVIF", PICTURE, range="limited"), "colours"),
    "exif": (written("AVIF", PICTURE, exif=EXIF), "AV1"),
    "10 bit": (with_av1_bit_flipped(DEEP_BIT), "8-bit colour still picture"),
    "moving": (with_av1_bit_flipped(3), "still picture"),
    "long length": (boxed_avif(LONG_LENGTH), "expected a whole sequence header"),
    "short header": (boxed_avif(b"\x0a\x02\x18\x00" + BARE_FRAME), "of 2 bytes, expected more"),
    "no frame": (boxed_avif(SEQUENCE), "has nothing at byte 11 of its AV1 part"),
    "empty frame": (boxed_avif(SEQUENCE + b"\x32\x00"), "expected a whole frame"),
    "bare frame": (boxed_avif(SEQUENCE + BARE_FRAME), "no whole AVIF of 24x20"),
    "twice": (boxed_avif(AVIF[AV1:] * 2), "bytes behind its AV1 frame"),
    "truncated": (AVIF[:-9], "expected a whole 'mdat'"),
    "garbage": (AVIF + b"more", f"got {len(AVIF) + 4}"),
    "open end": (patched(AVIF, AV1 - 10, bytes(4)), "'mdat' of 0 bytes"),
    "webp": (WEBP, "expected a whole 'ftyp'"),
}
REFUSED = {"jpeg": REFUSED_JPEG, "webp": REFUSED_WEBP, "avif": REFUSED_AVIF}


@pytest.mark.parametrize(
    ("picture_format", "name"), [(kind, name) for kind in FORMATS for name in REFUSED[kind]]
)
def test_what_is_not_the_one_plain_picture_is_refused(
    picture_format: PictureFormat, name: str
) -> None:
    payload, message = REFUSED[picture_format][name]
    with pytest.raises(WireError, match=message):
        decode_picture(payload, picture_format, HEIGHT, WIDTH, lossless="lossless" in name)


def lying_avif() -> bytes:
    """Its container says 24x20; the AV1 picture in it is of 2048x2048."""
    honest = written("AVIF", np.full((2048, 2048, 3), 77, np.uint8), quality=10, speed=10)
    side = (2048).to_bytes(4)
    return honest.replace(side + side, WIDTH.to_bytes(4) + HEIGHT.to_bytes(4))


def endless_jpeg() -> bytes:
    empty_scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00\x00"
    progressive = written("JPEG", PICTURE, progressive=True)
    return progressive[:-2] + empty_scan * 5000 + progressive[-2:]


FAR = 16_000
FAR_CANVAS = patched(REFUSED_WEBP["animated"][0], 24, 2 * FAR.to_bytes(3, "little"))
FAR_LOSSLESS = (0x2F | (FAR - 1) * (1 << 8 | 1 << 22)).to_bytes(5, "little")
BOMBS: dict[str, tuple[PictureFormat, bytes]] = {
    "jpeg size": ("jpeg", patched(JPEG, FRAME + 5, 2 * FAR.to_bytes(2))),
    "jpeg scans": ("jpeg", endless_jpeg()),
    "webp size": ("webp", patched(WEBP, 26, 2 * FAR.to_bytes(2, "little"))),
    "webp canvas": ("webp", FAR_CANVAS),
    "lossless size": ("webp", patched(LOSSLESS, 20, FAR_LOSSLESS)),
    "avif size": ("avif", lying_avif()),
}


@pytest.mark.parametrize(("picture_format", "quality"), KINDS)
def test_a_picture_of_another_size_is_refused(
    picture_format: PictureFormat, quality: int | None
) -> None:
    payload = encode_picture(smooth(WIDTH, HEIGHT), picture_format, quality)
    with pytest.raises(WireError, match=r"is 20x24, expected 24x20"):
        decode_picture(payload, picture_format, HEIGHT, WIDTH, lossless=quality is None)


@pytest.mark.parametrize(("payload", "lossless"), [(WEBP, True), (LOSSLESS, False)])
def test_the_kind_of_webp_that_the_plan_does_not_say_is_refused(
    payload: bytes, lossless: bool
) -> None:
    assert decode_picture(payload, "webp", HEIGHT, WIDTH, lossless=not lossless).any()
    with pytest.raises(WireError, match="lossless only where the plan says so"):
        decode_picture(payload, "webp", HEIGHT, WIDTH, lossless=lossless)


def test_nothing_of_the_senders_avif_container_is_believed() -> None:
    """Whatever `meta` says of sizes, places and items, the picture is the checked one."""
    meta, end = AVIF.index(b"meta") + 4, AV1 - 10
    decoded = decode_picture(patched(AVIF, meta, bytes(end - meta)), "avif", HEIGHT, WIDTH)
    assert np.array_equal(decoded, decode_picture(AVIF, "avif", HEIGHT, WIDTH))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name: str) -> None:
    picture_format, payload = BOMBS[name]
    assert len(payload) < 100_000
    with pytest.raises(WireError, match=r"expected (24x20|a baseline|b'VP8 ')"):
        decode_picture(payload, picture_format, HEIGHT, WIDTH, lossless="lossless" in name)


PEAK_OF_A_PROCESS = """
import sys
from pathlib import Path
from isthmus import WireError
from isthmus.pictures import decode_picture

def peak_kb():
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmPeak:")[1].split()[0])

before = 0
for path in sorted(Path().iterdir()):
    try:
        lossless = "lossless" in path.name
        decode_picture(path.read_bytes(), path.suffix[1:], 20, 24, lossless=lossless)
        before = peak_kb()
        assert "honest" in path.name, path
    except WireError as error:
        assert "bomb" in path.name, (path, error)
print(peak_kb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for its peak")
def test_no_memory_is_taken_for_what_a_bomb_announces(tmp_path: Path) -> None:
    """Decoders take theirs beyond Python's sight, so a process of its own looks at all it has."""
    for (picture_format, quality), payload in zip(KINDS, HONEST, strict=True):
        kind = "lossy" if quality else "lossless"
        (tmp_path / f"1 honest {kind}.{picture_format}").write_bytes(payload)
    for name, (picture_format, payload) in BOMBS.items():
        (tmp_path / f"2 bomb {name}.{picture_format}").write_bytes(payload)
    program = [sys.executable, "-c", PEAK_OF_A_PROCESS]
    ran = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 2048  # KB; the smallest of them would take 6 MB


def mutated(payload: bytes, dice: random.Random) -> bytes:
    """One to eight places changed, dropped or copied elsewhere; headers more often."""
    changed = bytearray(payload)
    for _ in range(dice.choice((1, 1, 2, 8))):
        reach = len(changed) if dice.random() < 0.5 else min(64, len(changed))
        at, other = dice.randrange(reach), dice.randrange(len(changed))
        match dice.randrange(5):
            case 0:
                del changed[at : at + dice.randrange(1, 5)]
            case 1:
                changed[at:at] = changed[other : other + 9]
            case 2:
                changed[at] ^= 1 << dice.randrange(8)
            case _:
                changed[at] = dice.choice((0, 255, dice.randrange(256)))
    return bytes(changed)


@pytest.mark.parametrize(("picture_format", "quality"), KINDS)
def test_a_mutated_payload_is_decoded_or_refused_and_nothing_else(
    picture_format: PictureFormat, quality: int | None
) -> None:
    """Both happen: a changed coefficient is another picture, a changed header is none."""
    payload = encode_picture(PICTURE, picture_format, quality)
    dice = random.Random(7)
    refused = 0
    for _ in range(3000):
        changed = mutated(payload, dice)
        if picture_format == "webp" and dice.random() < 0.5:
            changed = resized(changed + bytes(len(changed) % 2))
        try:
            decoded = decode_picture(changed, picture_format, HEIGHT, WIDTH, lossless=not quality)
        except WireError:
            refused += 1
        else:
            assert decoded.shape == (HEIGHT, WIDTH, 3)
            assert decoded.dtype == np.uint8
    assert 300 < refused < 3000


_FIRST = """
import sys
import numpy as np
from isthmus.pictures import encode_picture, require_format
require_format("jpeg")  # as whoever opens a bundle does
before = set(sys.modules)
encode_picture(np.zeros((8, 8, 3), np.uint8), "jpeg", 90)
print(sorted(set(sys.modules) - before))
"""


def test_the_first_picture_waits_for_no_module_to_load() -> None:
    """It would be a frame that is late."""
    ran = subprocess.run([sys.executable, "-c", _FIRST], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
