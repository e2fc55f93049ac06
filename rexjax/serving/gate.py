"""Which pages and hosts a request may come from: what a browser sends on behalf of another site is refused.

A server on this machine without keys trusts whoever reaches it. A page of another site reaches it too, by the browser
of somebody who works here. Such a request names its page (``Origin``, ``Sec-Fetch-Site``) or, after a DNS answer that
has changed meanwhile (DNS rebinding), another host than this one.
"""

from urllib.parse import SplitResult, urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from rexjax.serving import messages


class Gate:
    """Passes on the requests of programs and of the server's own pages; others get 403."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] = frozenset()) -> None:
        """``hosts`` are the names that a request may have asked for, without a port; none: any."""
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] == "http" and (why := self._refusal(dict(scope["headers"]))):
            await messages.send_json(send, {"error": why}, 403, None)
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> str:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts and host and _split(f"//{host}").hostname not in self._hosts:
            return "this server has another name: ask it by the address that it printed"
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and _split(origin).netloc != (host or None):
            return "a page of another site may not ask this server"
        if headers.get(b"sec-fetch-site") == b"cross-site" and headers.get(b"sec-fetch-mode") != b"navigate":
            return "a page of another site may not ask this server"
        return ""


def _split(address: str) -> SplitResult:
    """The parts of an address; of one that is none, empty parts."""
    try:
        return urlsplit(address)
    except ValueError:  # an odd bracket
        return urlsplit("")
