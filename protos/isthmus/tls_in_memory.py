"""TLS handshakes in memory: Python reads what stands in a certificate only in one."""

import ssl

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, openssl/x509_vfy.h
PARTIAL_CHAIN = 0x80000  # X509_V_FLAG_PARTIAL_CHAIN: it need not have signed itself

__all__ = ["NO_CHECK_TIME", "PARTIAL_CHAIN", "shaken"]


def shaken(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection between the two, the client's first, after the handshake. SSLError
    if one of them refuses the other."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    shaking = list(ends)
    while shaking:
        for end in tuple(shaking):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            shaking.remove(end)
    return ends
