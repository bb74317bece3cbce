"""HTTP with the rules of this package: which redirects are followed, who sees the token, what a failure means to the user.

Knows nothing of hubs or files. Failures are raised as OSError or HTTPException, as the standard library does, so that a caller can
tell what is worth another try (`Patience`); `explain` turns any of them into the SourceError the user sees.
"""

from __future__ import annotations

import functools
import http.client
import time
from collections.abc import Callable, Mapping
from email.message import Message
from typing import TYPE_CHECKING, Any

from edgerun.errors import SourceError
from edgerun.hub.names import shown

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

STALL = 20.0          # seconds without a byte after which a connection counts as dead
ATTEMPTS = 5          # tries without progress
BACKOFF = 0.5         # seconds before the second try, doubled each time
LONGEST_PAUSE = 30.0  # seconds
_MOST_REDIRECTS = 8
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})

FAILURES = (OSError, http.client.HTTPException)   # what `request` and reading a reply may raise


class Refused(OSError):
    """The server answered, with a status of 400 or above."""

    def __init__(self, status: int, url: str, headers: Message) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.url, self.headers = status, url, headers


class Senseless(http.client.HTTPException):
    """An answer that no honest server gives, a redirect that must not be followed among them: trying again is pointless."""


class Reply:
    """An open answer below 400: `status`, `headers`, `url` it finally came from, and the body by `read1`."""

    def __init__(self, response: Any, url: str) -> None:
        self.status: int = response.status
        self.headers: Message = response.headers
        self.url = url
        self._response = response

    def read1(self, most: int) -> bytes:
        """What has arrived, at most `most` bytes; empty at the end."""
        return self._response.read1(most)

    def read_all(self, most: int) -> bytes:
        """The whole body. Senseless if it is longer than `most` bytes."""
        body = self._response.read(most + 1)
        if len(body) > most:
            raise Senseless(f"the answer is longer than {most} bytes")
        return body

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *exc: object) -> None:
        self._response.close()


def request(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    timeout: float | None = None,
    enough: Callable[[Message], bool] = lambda headers: False,
) -> Reply:
    """Ask for `url`, following redirects until one whose headers are `enough`. Raises FAILURES, `Refused` for 400 and above.

    The token is sent to the host of `url` only, never to where it redirects.
    """
    from urllib.error import HTTPError
    from urllib.request import Request

    home = _origin(url)
    for _ in range(_MOST_REDIRECTS):
        asked = Request(_quoted(url), method=method, headers={"User-Agent": "edgerun", "Accept-Encoding": "identity", **(headers or {})})
        if token and _origin(url) == home:
            asked.add_header("Authorization", f"Bearer {token}")
        try:
            return Reply(_opener().open(asked, timeout=STALL if timeout is None else timeout), url)
        except HTTPError as answer:
            moved = answer.code in (301, 302, 303, 307, 308) and "Location" in answer.headers
            if moved and enough(answer.headers):
                return Reply(answer, url)
            answer.close()
            if not moved:
                raise Refused(answer.code, url, answer.headers) from None
            url = _next(url, answer.headers["Location"])
    raise Senseless(f"more than {_MOST_REDIRECTS} redirects")


class Patience:
    """When to try again: at most ATTEMPTS times without progress, with growing pauses, and only what can get better."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._failures = 0
        self._reached = False

    def progress(self) -> None:
        """Something was received: the source is there, and the count starts anew."""
        self._failures, self._reached = 0, True

    def after(self, error: Exception) -> None:
        """Wait before the next try, or raise the SourceError for `error` when there is no point in one."""
        self._failures += 1
        unheard = not self._reached and isinstance(getattr(error, "reason", error), TimeoutError)
        if self._failures >= (2 if unheard else ATTEMPTS) or not self._may_pass(error):
            raise explain(error, self._url) from error
        time.sleep(min(self._pause(error), LONGEST_PAUSE))

    def _pause(self, error: Exception) -> float:
        asked = error.headers.get("Retry-After", "") if isinstance(error, Refused) else ""
        return float(asked) if asked.isdecimal() and len(asked) < 6 else BACKOFF * 2 ** (self._failures - 1)

    def _may_pass(self, error: Exception) -> bool:
        import socket
        import ssl

        if isinstance(error, Refused):
            return error.status in _BUSY
        reason = getattr(error, "reason", error)
        if isinstance(reason, (ssl.SSLCertVerificationError, Senseless)):
            return False
        # A host that never answered is most likely not there; one that did may come back.
        return self._reached or not isinstance(reason, (socket.gaierror, ConnectionRefusedError))


def explain(error: Exception, url: str) -> SourceError:
    """The message for a failure of `request` or of reading its reply: what, where, and what to do."""
    import socket
    import ssl

    where = host_of(url)
    if isinstance(error, Refused):
        return SourceError(f"{_address(error.url)}: {_status_hint(error)}")
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return SourceError(f"{where}: the name of the host cannot be resolved; check the network connection or the proxy settings")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return SourceError(f"{where}: its certificate is not trusted here; behind a company proxy set SSL_CERT_FILE to its certificates")
    if isinstance(reason, TimeoutError):
        return SourceError(f"{where}: no answer in time; try again, what has arrived is kept")
    if isinstance(reason, ConnectionRefusedError):
        return SourceError(f"{where}: connection refused; check the address and the proxy settings")
    if isinstance(reason, Senseless):
        return SourceError(f"{_address(url)}: {reason}; check the address")
    what = str(reason) or type(reason).__name__
    return SourceError(f"{where}: the connection failed ({shown(what)[1:-1]}); try again, what has arrived is kept")


def host_of(url: str) -> str:
    """The host (and port) of `url`, printable."""
    from urllib.parse import urlsplit

    return shown(urlsplit(url).netloc)[1:-1]


def _address(url: str) -> str:
    """`url` without its query, which may hold a signature."""
    return shown(url.split("?")[0], 160)[1:-1]


def _status_hint(error: Refused) -> str:
    code = error.headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        return "access needs the acceptance of its licence: accept it on the model's page and set HF_TOKEN to a token of your account"
    if error.status in (401, 403):
        return (f"access denied (HTTP {error.status}): no such repository, or it is private or gated; check the name, accept its licence "
                "on the model's page, set HF_TOKEN to a token of your account")
    if error.status in (404, 410):
        return f"there is no such file (HTTP {error.status}); check the name"
    if error.status == 429:
        return "too many requests (HTTP 429); wait some minutes, or set HF_TOKEN"
    if error.status >= 500:
        return f"the server has a problem (HTTP {error.status}); try again later"
    return f"refused with HTTP {error.status}"


def _origin(url: str) -> tuple[str, str]:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _quoted(url: str) -> str:
    """`url` with everything quoted that may not stand in a request line, existing quotes kept."""
    from urllib.parse import quote

    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def _next(url: str, location: str) -> str:
    from urllib.parse import urljoin, urlsplit

    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        sound = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        sound = False
    if not sound:
        raise Senseless(f"it redirects to {shown(location)}, which is not an HTTP address")
    if parts.scheme == "http" and url.startswith("https:"):
        raise Senseless("it redirects from HTTPS to plain HTTP")
    return target


@functools.cache
def _opener() -> OpenerDirector:
    """Speaks HTTP and HTTPS, through the proxies of the environment, and nothing else; leaves redirects to `request`."""
    import ssl
    import urllib.request as u

    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:   # a Python built without the system's certificates (python.org on macOS)
        import certifi

        context.load_verify_locations(certifi.where())
    opener = u.OpenerDirector()
    for handler in (u.ProxyHandler(), u.HTTPHandler(), u.HTTPSHandler(context=context), u.HTTPDefaultErrorHandler(),
                    u.HTTPErrorProcessor(), u.UnknownHandler()):
        opener.add_handler(handler)
    return opener
