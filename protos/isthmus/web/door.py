"""Who may look: hosts, tokens and cookies, without a socket.

A browser gets its cookie for a token (`GET /login` with `Authorization: Bearer TOKEN`, which the
sign-in page sends); scrapers send the token itself. Nobody finds a token in an address or a log.
"""

import hmac
from hashlib import sha256
from http import HTTPStatus
from ipaddress import ip_address

from isthmus.web.config import WebConfig
from isthmus.web.messages import Reply, Request

LOGIN = "/login"

__all__ = ["LOGIN", "Door"]


class Door:
    """The rules of one server. `sign_in` is the page for a browser that has no cookie yet."""

    def __init__(self, config: WebConfig, sign_in: Reply) -> None:
        self._token = config.token
        self._sign_in = sign_in
        self._hosts = {host.lower() for host in (config.host, "localhost", *config.hosts)}
        if config.token is not None:
            # Cookies know no ports: two pages of one host must not take each other's.
            self._cookie_name = f"isthmus-{_digest('name', config.token)[:12]}"
            self._cookie = _digest("cookie", config.token)
            self._cookie_ends = "; Path=/; HttpOnly; SameSite=Strict"
            self._cookie_ends += "; Secure" if config.has_tls else ""

    def refusal(self, request: Request) -> Reply | None:
        """What somebody is told who may not look; None for who may."""
        if self._token is None:
            if not self._is_known(request.headers["host"]):
                return Reply.of(HTTPStatus.MISDIRECTED_REQUEST, "this host name is not served here")
        elif not (self._has_token(request) or self._has_cookie(request)):
            return self._unknown(request)
        site = request.headers.get("sec-fetch-site") or _site_by_origin(request)
        is_visit = request.headers.get("sec-fetch-mode") == "navigate"
        if site in {"cross-site", "same-site"} and not is_visit:
            return Reply.of(HTTPStatus.FORBIDDEN, "other pages may not load this")
        return None

    def login(self, request: Request) -> Reply:
        """The cookie, for who shows the token."""
        if self._token is None:
            return Reply.of(HTTPStatus.NOT_FOUND, "no token is needed here")
        if not self._has_token(request):
            return _denied("this is not the token")
        cookie = f"{self._cookie_name}={self._cookie}{self._cookie_ends}"
        return Reply(status=HTTPStatus.NO_CONTENT, headers={"Set-Cookie": cookie})

    def _is_known(self, host: str) -> bool:
        """An IP address cannot be rebound; a name must be one of ours. The port may be anyone's."""
        name = _without_port(host)
        if name.lower() in self._hosts:
            return True
        try:
            ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _has_token(self, request: Request) -> bool:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        assert self._token is not None
        return scheme.lower() == "bearer" and _same(shown.strip(), self._token)

    def _has_cookie(self, request: Request) -> bool:
        pairs = (pair.partition("=") for pair in request.headers.get("cookie", "").split(";"))
        shown = [value.strip() for name, _, value in pairs if name.strip() == self._cookie_name]
        return any(_same(value, self._cookie) for value in shown)

    def _unknown(self, request: Request) -> Reply:
        wants_page = "text/html" in request.headers.get("accept", "")
        return self._sign_in if wants_page else _denied("send the token: Authorization: Bearer …")


def _site_by_origin(request: Request) -> str:
    """What a browser that does not name the site lets conclude: an origin comes with what the page
    of somebody else loads, and not with a page's own GET."""
    origin = request.headers.get("origin")
    own = origin is None or origin.partition("://")[2] == request.headers["host"]
    return "none" if own else "cross-site"


def _denied(words: str) -> Reply:
    return Reply.of(HTTPStatus.UNAUTHORIZED, words, www_authenticate='Bearer realm="isthmus"')


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and (port.isdigit() or not port) and not name.endswith(":") else host


def _same(shown: str, known: str) -> bool:
    """In a time that does not tell how much of it was right."""
    return hmac.compare_digest(_digest("compare", shown), _digest("compare", known))


def _digest(purpose: str, secret: str) -> str:
    return sha256(f"isthmus {purpose}\0{secret}".encode("utf-8", "surrogatepass")).hexdigest()
