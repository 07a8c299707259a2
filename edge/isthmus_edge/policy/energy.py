"""What a frame costs the device in energy: a proxy that puts candidates in order, no measurement.

    energy = processor time x CPU_W + radio time x RADIO_W + bits x what a bit adds

Processor: a core of a Raspberry Pi 4B under full load, above idle: (6.4 W - 2.7 W) / 4 cores
(J. Geerling, Power Consumption Benchmarks, pidramble.com). Radio: LTE, the costliest in common
use: 1288 mW while it is active, and 438.4 mW (up), 52.0 mW (down) for each Mbit/s (Huang et al.,
A Close Examination of Performance and Power Characteristics of 4G LTE Networks, MobiSys 2012,
table 4). Left out: what the board takes idle, the radio's tail after the last byte, the cloud.
"""

CPU_W = 0.93
RADIO_W = 1.288
UP_MJ_PER_BYTE = 438.4 * 8e-6  # mW for each Mbit/s are mJ for each Mbit
DOWN_MJ_PER_BYTE = 52.0 * 8e-6

__all__ = ["CPU_W", "DOWN_MJ_PER_BYTE", "RADIO_W", "UP_MJ_PER_BYTE", "frame_mj"]


def frame_mj(
    device_ms: float, up_bytes: float = 0.0, down_bytes: float = 0.0, radio_ms: float = 0.0
) -> float:
    """Millijoule of one frame: computing, then sending and receiving for `radio_ms` in all."""
    radio_mj = radio_ms * RADIO_W + up_bytes * UP_MJ_PER_BYTE + down_bytes * DOWN_MJ_PER_BYTE
    return device_ms * CPU_W + radio_mj
