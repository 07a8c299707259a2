"""The cloud image's health check: ends with 0 if the service on this machine takes devices.

    isthmus-ready [PORT]

Asks `/readyz` of the service's web page (`isthmus cloud --http HOST:PORT`) on the loopback, in the
clear or over TLS. Whose certificate that is does not matter here: the loopback is the container's
own. It needs nothing but Python, so that a check costs no second of imports.
"""

import http.client
import ssl
import sys

HOST = "127.0.0.1"
PORT = 8080
TIMEOUT_S = 2.0


def main(arguments: list[str]) -> int:
    """0 if the service is ready; else 1, and a line that says why."""
    port = int(arguments[0]) if arguments else PORT
    try:
        status, text = readiness(port)
    except (OSError, http.client.HTTPException) as error:
        print(f"nothing answers on {HOST}:{port}: {error!r}")
        return 1
    print(f"{status} {text}")
    return 0 if status == http.HTTPStatus.OK else 1


def readiness(port: int) -> tuple[int, str]:
    """Status and text of `/readyz`; OSError or HTTPException if there is none.

    Plain text first: a TLS server refuses it at once, while the other way round would wait.
    """
    try:
        return answer(http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S))
    except (ConnectionResetError, http.client.HTTPException):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return answer(http.client.HTTPSConnection(HOST, port, timeout=TIMEOUT_S, context=context))


def answer(connection: http.client.HTTPConnection) -> tuple[int, str]:
    """Status and text of `/readyz` over this connection, which is closed."""
    try:
        connection.request("GET", "/readyz")
        reply = connection.getresponse()
        return reply.status, reply.read(100).decode(errors="replace").strip()
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
