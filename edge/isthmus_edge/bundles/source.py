"""Where a device's bundles come from: which model, of which service, signed by whom."""

from dataclasses import dataclass, field
from pathlib import Path

from isthmus import ConfigError, is_loopback
from isthmus.bundle_names import check_name
from isthmus.signing import trusted_keys
from isthmus_edge.bundles.offer import Verifier
from isthmus_edge.stream.addresses import Target, targets_of
from isthmus_edge.stream.credentials import Credentials

__all__ = ["Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`model` as the service's store names it, `cloud` as an `Agent` takes it.

    `credentials` says whom to trust and what to show; beyond this machine it has a certificate to
    trust, or `insecure` says that plain text is all right. With `keys` (PEM files of public keys)
    only bundles are taken that one of them has signed. ConfigError for what cannot be.
    """

    model: str
    cloud: str | tuple[str, ...]
    credentials: Credentials = field(default_factory=Credentials)
    insecure: bool = False
    keys: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        check_name("model name", self.model)
        for target in self.targets:
            is_trusted = self.credentials.tls_ca is not None or self.insecure
            if not is_trusted and not is_loopback(target.host):
                raise ConfigError(
                    f"{target} is not this machine: give the service's certificate (tls_ca, "
                    "--tls-ca PEM), or allow plain text (insecure, --insecure)"
                )

    @property
    def targets(self) -> tuple[Target, ...]:
        """What `cloud` names."""
        return targets_of(self.cloud)

    def verifier(self) -> Verifier | None:
        """By the keys, which are read now: ConfigError if one cannot be. None without keys."""
        return trusted_keys(self.keys) if self.keys else None
