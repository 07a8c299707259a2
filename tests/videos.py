"""Videos of two kinds: the scene changes for good, or nothing changes but the camera's noise."""

import numpy as np
from numpy.typing import NDArray

Pictures = list[NDArray[np.uint8]]

_SIZE, _STRIDE = 32, 2


def moving_video(count: int) -> Pictures:
    """One pattern is drawn over another like a curtain, then a third over that one, and so on."""
    random = np.random.default_rng(3)
    before, after = random.integers(0, 256, (2, 1, _SIZE, _SIZE, 3)).astype(np.uint8)
    pictures = []
    for index in range(count):
        edge = _STRIDE * index % _SIZE
        if edge == 0 and index > 0:
            before, after = after, random.integers(0, 256, before.shape).astype(np.uint8)
        pictures.append(np.concatenate([after[:, :, :edge], before[:, :, edge:]], axis=2))
    return pictures


def still_video(count: int) -> Pictures:
    """The same picture again and again, each time with other noise of up to 3 of 255."""
    random = np.random.default_rng(5)
    scene = random.integers(30, 220, (1, _SIZE, _SIZE, 3))
    noise = random.integers(-3, 4, (count, *scene.shape))
    return list((scene + noise).astype(np.uint8))
