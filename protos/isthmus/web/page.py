"""The pages that the server has by itself: the live one, and the sign-in of who has no cookie.

Each is one file with its style and script inside. The Content-Security-Policy in the reply's head
admits exactly these two by their sha256: no script and no request can come out of a device's name.
"""

import base64
import hashlib
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from string import Template

from isthmus.web.messages import Reply

HTML = "text/html; charset=utf-8"
_LIVE = ("words.js", "charts.js", "tables.js", "live.js")

__all__ = ["live_page", "sign_in_page"]


@cache
def live_page() -> Reply:
    """The page that shows what `/events` of the same server says."""
    return _page("live.html", *_LIVE)


@cache
def sign_in_page() -> Reply:
    """Asks for the token; given with status 401."""
    page = _page("sign_in.html", "sign_in.js")
    headers = dict(page.headers) | {"WWW-Authenticate": 'Bearer realm="isthmus"'}
    return Reply(status=HTTPStatus.UNAUTHORIZED, content_type=HTML, body=page.body, headers=headers)


def _page(name: str, *scripts: str) -> Reply:
    style = _asset("style.css")
    parts = "\n".join(_asset(each) for each in scripts)
    script = f'"use strict";\n(() => {{\n{parts}}})();\n'
    body = Template(_asset(name)).substitute(style=style, script=script)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return Reply(content_type=HTML, body=body.encode(), headers={"Content-Security-Policy": policy})


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (files("isthmus.web") / "page" / name).read_text(encoding="utf-8")
