"""A slow link for one TCP port: a loopback relay with rate, round trip time and live changes.

`Relay` starts it as a process of its own, so that nothing in the caller disturbs its timers. It can
also be run by hand; it prints one line of JSON with its port, takes changes as lines of JSON on
stdin, answers each when it is in force, and ends when stdin closes or on SIGTERM or SIGINT::

    python -m isthmus_bench.relay --to 127.0.0.1:50051 --uplink-mbps 5.85 --rtt-ms 40
    {"listen": "127.0.0.1:41234", "port": 41234}
    {"uplink_mbps": 1.1, "downlink_mbps": 1.1, "rtt_ms": 40}
    {"ok": true, "uplink_mbps": 1.1, "downlink_mbps": 1.1, "rtt_ms": 40.0, ...}

A rate of 0 passes nothing and breaks nothing; `null` is unshaped; a key left out stays as it is.
The other commands, one to a line::

    {"jitter_ms": 20, "stalls_per_s": 0.5, "stall_ms": 250, "seed": 3}   as in `LinkShape`
    {"play": "drive.csv", "rtt_ms": 60, "direction": "uplink"}           a trace, repeated
    {"half_open": true}   accept and let nothing pass; what was silenced stays so after `false`
    {"refuse": true}      break new connections at once, until `false`
    {"reset": true}       break every connection
    {"count": true}       how many bytes each direction has carried
    {"script": [[5, {"uplink_mbps": 0}], [15, {"uplink_mbps": 10}]]}     these, at their times

`--trace FILE` and `--script FILE` begin with the process. A rate given later ends the trace of its
direction.

What it cannot show: loss, congestion control and TCP's silence after an outage, because the
sender's TCP sees loopback; a stall is only what an application sees of a loss. Rates are payload
rates, without headers. Bytes that an application has handed to its socket may be far from having
left: about 40 KB stand in the relay's own buffer (1.6 s at 0.2 Mbit/s), and the sender's kernel
buffer, which grows to megabytes, is out of its hands. A refused connection is made and then broken,
because a relay that stopped listening could lose its port; so is every one past 400.
"""

from isthmus_bench.relay.client import Relay
from isthmus_bench.relay.shape import LinkShape

__all__ = ["LinkShape", "Relay"]
