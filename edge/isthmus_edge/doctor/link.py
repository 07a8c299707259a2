"""The link to a cloud: name, connection, TLS, service, rates. The first break ends it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from isthmus import BundleError, Candidate, LinkError, Manifest, PeerError, is_loopback
from isthmus.bundle import read_manifest
from isthmus_edge.doctor.conversation import Conversation
from isthmus_edge.doctor.finding import Figure, Finding, fail, note, warn
from isthmus_edge.doctor.network import Network, Road, SystemNetwork, reach
from isthmus_edge.doctor.own_certificate import OwnCertificate
from isthmus_edge.doctor.surroundings import Surroundings
from isthmus_edge.doctor.tls import TlsLook, speaks_tls
from isthmus_edge.stream.addresses import Target
from isthmus_edge.stream.credentials import Credentials
from isthmus_edge.stream.transport import DENIED, GrpcTransport, Transport
from isthmus_edge.stream.wording import MISMATCH_WAY_OUT

ROUND_TRIPS, QUICK_ROUND_TRIPS = 20, 5
_MOST_MESSAGE_BYTES = 1024 * 1024

_NO_BUNDLE_WAY_OUT = "name the folder of a whole bundle, or none: then only the way is looked at"

MakeTransport = Callable[[str, Credentials], Transport]

__all__ = ["QUICK_ROUND_TRIPS", "ROUND_TRIPS", "LinkLook"]


def _grpc(address: str, credentials: Credentials) -> Transport:
    return GrpcTransport(address, credentials, _MOST_MESSAGE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLook:
    """Looks at the way to `cloud`, with the credentials that an agent would be given.

    With a `bundle`, the service's greeting is the real one, and rates are measured.
    """

    cloud: Target
    credentials: Credentials = field(default_factory=Credentials)
    insecure: bool = False
    bundle: Path | None = None
    round_trips: int = ROUND_TRIPS
    around: Surroundings = field(default_factory=Surroundings)
    network: Network = field(default_factory=SystemNetwork)
    transport: MakeTransport = _grpc

    def look(self) -> Iterator[Finding]:
        """Findings in the order of the way; after the first failure there is nothing to look at."""
        for step in reach(self.network, self.cloud.host, self.cloud.port):
            if isinstance(step, Road):
                yield from self._beyond(self.cloud.host, step)
            else:
                yield step

    def _beyond(self, host: str, road: Road) -> Iterator[Finding]:
        secure = self._secure(host, road)
        yield secure
        own = self._own_certificate()
        if own is not None:
            yield own
        if secure.state != "fail":
            yield from self._service(road)

    def _own_certificate(self) -> Finding | None:
        shown = self.credentials
        if shown.tls_certificate is None or shown.tls_key is None:
            return None
        return OwnCertificate(
            certificate=shown.tls_certificate, key=shown.tls_key, wall_s=self.around.wall_s
        ).look()

    def _secure(self, host: str, road: Road) -> Finding:
        if self.credentials.tls_ca is not None:
            return TlsLook(
                network=self.network,
                address=road.address,
                host=host,
                ca=self.credentials.tls_ca,
                wall_s=self.around.wall_s,
            ).look()
        if is_loopback(host):
            return note("link.tls", "plain text, which stays on this machine")
        if self.insecure:
            way_out = "give the service a certificate, and this device --tls-ca"
            return warn("link.tls", "plain text: whoever is on the way can read along", way_out)
        return fail(
            "link.tls",
            f"{host} is another machine, and there is no certificate to trust",
            "give the service's certificate (--tls-ca PEM), or allow plain text (--insecure)",
            reason="no trust",
        )

    def _service(self, road: Road) -> Iterator[Finding]:
        try:
            manifest, fingerprint = self._plan()
            with Conversation(
                self.transport(str(self.cloud), self.credentials), fingerprint, self.around.clock_s
            ) as talk:
                provider = talk.greet()
                yield note("link.service", f"welcome: tails run on {provider}", provider=provider)
                yield from self._rates(talk, manifest)
        except BundleError as error:
            text = f"not asked, as the bundle cannot be read: {error}"
            yield fail("link.service", text, _NO_BUNDLE_WAY_OUT, reason="no bundle")
        except PeerError as error:
            yield self._refused(error)
        except LinkError as error:
            yield self._unanswered(str(error), road)

    def _plan(self) -> tuple[Manifest | None, str]:
        """Manifest and fingerprint of the bundle; BundleError where there is none."""
        return (None, "") if self.bundle is None else read_manifest(self.bundle)

    def _refused(self, error: PeerError) -> Finding:
        if error.code == "BUNDLE_MISMATCH" and self.bundle is None:
            text = "an Isthmus service answers; name its BUNDLE to measure round trip and rate"
            return note("link.service", text)
        ways_out = {
            "BUNDLE_MISMATCH": MISMATCH_WAY_OUT,
            "PROTOCOL": "install the same version of Isthmus on both sides",
        }
        way_out = ways_out.get(error.code, "look at the service's log")
        text = f"refused: {error}".removesuffix(f"; {way_out}")
        return fail("link.service", text, way_out, reason=error.code)

    def _unanswered(self, reason: str, road: Road) -> Finding:
        status = reason.partition(":")[0]
        if status in DENIED:
            return self._denied(status, reason)
        text = f"no Isthmus service answers: {reason}"
        if reason.startswith("UNIMPLEMENTED"):
            way_out = "this is gRPC, but another service: is the port right?"
        elif self.credentials.tls_ca is None and speaks_tls(self.network, road.address):
            way_out = "it speaks TLS: give its certificate (--tls-ca PEM)"
        else:
            way_out = "is the port right? `isthmus cloud` prints its own when it is ready"
        return fail("link.service", text, way_out, reason=status)

    def _denied(self, status: str, reason: str) -> Finding:
        if self.credentials.has_token:
            what = "the service refuses this device's token"
            way_out = "get a new one from who runs it, who makes it with `isthmus tokens`"
        else:
            what = "the service lets nobody in without a token"
            way_out = "give this device's (--token-file FILE)"
        return fail("link.service", f"{what}: {reason}", way_out, reason=status)

    def _rates(self, talk: Conversation, manifest: Manifest | None) -> Iterator[Finding]:
        trips_ms = talk.round_trips_ms(self.round_trips)
        least, middle = min(trips_ms), median(trips_ms)
        text = f"a message goes there and back in {least:.1f} ms (median {middle:.1f})"
        figures = {"rtt_min_ms": round(least, 3), "rtt_median_ms": round(middle, 3)}
        yield note("link.rtt", text, **figures)
        yield _judged(_Measured(talk.up_bps(), talk.down_bps(), middle), manifest)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Of the link; `down_bps` is None where the service cannot tell."""

    up_bps: float
    down_bps: float | None
    rtt_ms: float

    def __str__(self) -> str:
        up = f"{self.up_bps / 1e6:,.1f} Mbit/s up, "
        if self.down_bps is None:
            return f"{up}down not measured: the service is older than this device"
        return f"{up}{self.down_bps / 1e6:,.1f} down"

    def frame_ms(self, candidate: Candidate) -> float:
        """One frame from submit to answer on an idle link."""
        found = candidate.figures
        computing_ms = found.edge_ms + found.encode_ms + found.decode_ms + found.tail_ms
        up_ms = found.payload_bytes * 8e3 / self.up_bps
        down_ms = 0.0 if self.down_bps is None else found.answer_bytes * 8e3 / self.down_bps
        return computing_ms + up_ms + down_ms + self.rtt_ms


def _judged(link: _Measured, manifest: Manifest | None) -> Finding:
    """Whether the link is of use to the bundle's plan, by the plan's own figures."""
    down_bps = None if link.down_bps is None else round(link.down_bps)
    figures: dict[str, Figure] = {"up_bps": round(link.up_bps), "down_bps": down_bps}
    if manifest is None:
        return note("link.rate", str(link), **figures)
    local_ms = manifest.local.figures.edge_ms
    remote = [each for each in manifest.kept if not each.is_local]
    if not remote:
        return note("link.rate", f"{link}; the plan sends nothing anyway", **figures)
    best = min(remote, key=link.frame_ms)
    best_ms = link.frame_ms(best)
    figures |= {"best_split_ms": round(best_ms, 2), "local_ms": round(local_ms, 2)}
    text = f"{link}; by the plan, {best.id} takes {best_ms:.0f} ms"
    text += f" and this device alone {local_ms:.0f}"
    if best_ms > local_ms:
        way_out = "the agent stays on the device by itself; with a better link it could gain"
        return warn("link.rate", f"{text}: too slow to gain from it", way_out, **figures)
    return note("link.rate", text, **figures)
