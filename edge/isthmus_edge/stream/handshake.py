"""Why a connection to a service did not come about, from what gRPC tells of it: cause and way out.

gRPC tells it in its text alone. Few words of that are matched: OpenSSL's names of errors, and what
gRPC's own check of the name says. What is not known stays as gRPC says it.
"""

import re
from dataclasses import dataclass, replace

from isthmus_edge.stream.credentials import Shown

START_IT = "start it with `isthmus cloud BUNDLE --listen HOST:PORT`, or mend the address"

_NOT_VERIFIED = re.compile("CERTIFICATE_VERIFY_FAILED(?:: ([a-z ]+))?")
_HUNG_UP = ("Socket closed", "Connection reset", "Broken pipe")

__all__ = ["START_IT", "Trouble", "trouble_of"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a device from its service, and what somebody can do."""

    cause: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.cause}; {self.way_out}"


def trouble_of(details: str, shown: Shown, host: str) -> Trouble | None:
    """Of a connection that could not be made; None for any other end, and for what is not known.

    `details` are those of gRPC's status, `host` is whom the certificate has to be for.
    """
    not_verified = _NOT_VERIFIED.search(details)
    if not_verified is not None:
        return _unverified((not_verified[1] or "").strip())
    for words, trouble in _BY_WORDS.items():
        if words in details:
            return replace(trouble, cause=trouble.cause.format(host=host))
    # A service, or a proxy before it, may say these words of others that it talks to itself.
    if "failed to connect" in details:
        if "Connection refused" in details:
            return Trouble("nothing listens there", START_IT)
        if any(words in details for words in _HUNG_UP):
            return _hung_up(shown)
    return None


def _unverified(reason: str) -> Trouble:
    if "expired" in reason:
        return Trouble(
            "the service's certificate, or that of its issuer, has expired",
            "renew it there; if the clock of this device is too late, set it",
        )
    if "not yet valid" in reason:
        return Trouble(
            "the service's certificate is not valid yet: most likely the clock here is too early",
            "set the clock of this device",
        )
    return Trouble(
        f"tls_ca does not vouch for the service's certificate ({reason or 'not trusted'})",
        "give the certificate that signed the service's, or that one if it signed itself (tls_ca, "
        "--tls-ca)",
    )


def _hung_up(shown: Shown) -> Trouble:
    """It ended the connection before a word: how TLS refuses plain text, and a certificate."""
    cause = "it hangs up before it says a word"
    if shown.tls_ca is None:
        return Trouble(cause, "if it speaks TLS, give its certificate (tls_ca, --tls-ca)")
    if shown.tls_certificate is None:
        return Trouble(
            cause,
            "if it asks for a certificate of the device, give this one's (tls_certificate and "
            "tls_key, --tls-cert and --tls-key)",
        )
    return Trouble(
        cause,
        "see that the authority of its --client-ca has signed this device's certificate "
        "(tls_certificate), and that it has not expired (`isthmus doctor` tells)",
    )


_MISNAMED = Trouble(
    "the service's certificate is not for {host}",
    "name it as in its certificate, or make one with this name in it (subjectAltName)",
)
_BY_WORDS = {
    "Hostname Verification Check failed": _MISNAMED,
    "is not in peer certificate": _MISNAMED,
    "WRONG_VERSION_NUMBER": Trouble(
        "the service speaks no TLS",
        "start it with --tls-cert and --tls-key; or trust the network, and say so with insecure "
        "(--insecure) in place of tls_ca (--tls-ca)",
    ),
    "security handshaker": Trouble(
        "TLS cannot begin with these files",
        "see that tls_ca (--tls-ca) holds a certificate, and that tls_key (--tls-key) is the key "
        "of tls_certificate (--tls-cert)",
    ),
}
