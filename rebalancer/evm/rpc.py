"""JSON-RPC over HTTP: one endpoint, one answer or one clear error.

``Rpc`` is the protocol that the rooms above depend on; ``HttpRpc`` is the transport to one
endpoint, on requests. It asks once: a lost answer to ``eth_sendRawTransaction`` must come back to
us as lost, never as a silent second send. Retries and failover are ``endpoints.Endpoints``'.

Answers are matched to requests by their ids and by nothing else, a call has a limit for its whole
time and size, and nothing of a URL but scheme, host and port reaches a message, a repr or a log.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from rebalancer.errors import RebalancerError, RpcUnavailable

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

#: Method and parameters of one request.
Call = tuple[str, Sequence[Any]]

_URL = re.compile(r"\b(?:https?|wss?)://\S+", re.IGNORECASE)
#: Shorter parts of a URL ("v3", "mainnet") are words that messages are made of.
_SECRET_LENGTH = 8
#: The largest honest answers (logs of ten thousand events, traces) are a fraction of it.
MAX_ANSWER_BYTES = 128 * 2**20
_PIECE_BYTES = 2**16
_OK, _TOO_LARGE = 200, 413


class RpcError(RebalancerError):
    """The node answered, with an error; ``code`` and ``data`` are the node's."""

    exit_code = 3

    def __init__(self, method: str, code: int, message: str, data: Any = None) -> None:
        # A node that forks another one repeats that one's URL, which may hold an API key.
        message = _URL.sub("<url>", message)
        super().__init__(f"{method}: {message} (code {code})")
        self.method = method
        self.code = code
        self.data = data


class Unanswered(RpcUnavailable):
    """One endpoint gave no answer; ``fault`` says why, to stand after the endpoint's name."""

    def __init__(self, where: str, fault: str, method: str) -> None:
        super().__init__(
            f"the RPC endpoint {where} {fault} ({method})",
            hint="check that the node is up and the URL in .env or --rpc-url is right",
        )
        self.fault = fault


class RequestTooLarge(Unanswered):
    """The endpoint takes no request of this size: ask for less at a time."""


class Rpc(Protocol):
    """Anything that answers JSON-RPC."""

    def call(self, method: str, *params: Any) -> Any:
        """Result of one request; raises RpcError for the node's no, RpcUnavailable for silence."""

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results of several requests in order; the first error is raised."""


class HttpRpc:
    """JSON-RPC at ``url``; never retries, never shows more of the URL than scheme and host.

    ``timeout_s`` limits one request from its first byte to the last one of its answer. Safe to use
    from several threads: requests at the same time have connections of their own.
    """

    def __init__(
        self, url: str, timeout_s: float = 20.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parts = _split(url)
        self.where = f"{parts.scheme}://{_host(parts)}"
        self._url = url
        self._secrets = _secrets(parts)
        self._timeout_s = timeout_s
        self._clock = clock
        self._ids = count()
        self._idle: deque[_Line] = deque()
        # urllib3 logs the path of every request, where most providers put the key.
        logging.getLogger("urllib3.connectionpool").addFilter(_hide_paths)

    def __repr__(self) -> str:
        return f"HttpRpc({self.where})"

    def call(self, method: str, *params: Any) -> Any:
        return _result(self.ask([(method, params)])[0])

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        return [_result(answer) for answer in self.ask(calls)]

    def ask(self, calls: Sequence[Call], timeout_s: float | None = None) -> list[Any]:
        """Answers in order, an RpcError in the place of each that is one; one HTTP request.

        A single call is sent as itself, several as a batch. Raises Unanswered.
        """
        if not calls:
            return []
        name = calls[0][0] if len(calls) == 1 else "batch"
        ids = [next(self._ids) for _ in calls]
        requests = [
            {"jsonrpc": "2.0", "id": i, "method": method, "params": list(params)}
            for i, (method, params) in zip(ids, calls, strict=True)
        ]
        body = json.dumps(requests if len(calls) > 1 else requests[0]).encode()
        text = self._post(name, body, timeout_s or self._timeout_s)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            self._fail(name, "did not answer with JSON-RPC")
        if isinstance(answer, dict) and (len(calls) == 1 or answer.get("error") is not None):
            # An error that answers a batch as a whole answers each of its calls.
            if answer.get("id") not in (None, ids[0]) and len(calls) == 1:
                self._fail(name, "answered another request than was asked")
            return [self._answer(method, answer) for method, _ in calls]
        if len(calls) == 1 or not isinstance(answer, list):
            self._fail(name, "did not answer with JSON-RPC")
        return self._in_order(calls, ids, answer)

    def _in_order(self, calls: Sequence[Call], ids: list[int], answers: list[Any]) -> list[Any]:
        """The answers of a batch, which may come in any order, by the ids of the requests."""
        by_id = {
            answer["id"]: answer
            for answer in answers
            if isinstance(answer, dict) and type(answer.get("id")) is int
        }
        if len(answers) != len(calls) or by_id.keys() != set(ids):
            self._fail("batch", "answered other requests than were asked")
        return [self._answer(call[0], by_id[i]) for call, i in zip(calls, ids, strict=True)]

    def _answer(self, method: str, answer: Mapping[str, Any]) -> Any:
        error = answer.get("error")
        if error is None:
            if "result" not in answer:
                self._fail(method, "did not answer with JSON-RPC")
            if answer.get("id") is None:
                self._fail(method, "answered another request than was asked")
            return answer["result"]
        if not isinstance(error, Mapping):
            return RpcError(method, 0, self._redacted(str(error)))
        code = error.get("code")
        message = self._redacted(str(error.get("message", "unknown error")))
        return RpcError(method, code if isinstance(code, int) else 0, message, error.get("data"))

    def _post(self, name: str, body: bytes, timeout_s: float) -> bytes:
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError, NewConnectionError, TimeoutError

        deadline = self._clock() + timeout_s
        line = None
        # No exception is chained: those of both libraries carry the whole URL.
        try:
            line = self._line()
            with line.post(body, timeout_s) as response:
                if response.status == _TOO_LARGE:
                    raise RequestTooLarge(self.where, "takes no request of this size", name)
                if response.status != _OK:
                    self._fail(name, f"answered HTTP {response.status}")
                return self._read(name, response, deadline)
        except NewConnectionError:  # a TimeoutError to urllib3, although a refusal is quick
            self._fail(name, "cannot be reached")
        except TimeoutError:
            self._fail(name, "did not answer in time")
        except (RequestException, HTTPError):
            self._fail(name, "cannot be reached")
        finally:
            if line is not None:
                self._idle.append(line)

    def _read(self, name: str, response: HTTPResponse, deadline: float) -> bytes:
        """The whole body; a server that sends it drop by drop is out of time as a silent one."""
        body = bytearray()
        while piece := response.read1(_PIECE_BYTES, decode_content=True):
            body += piece
            if self._clock() > deadline:
                self._fail(name, "did not answer in time")
            if len(body) > MAX_ANSWER_BYTES:
                self._fail(name, "answers more than is read")
        return bytes(body)

    def _line(self) -> _Line:
        """A line that nobody uses right now: they are not made to be shared."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Line(self._url)

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _fail(self, name: str, fault: str) -> NoReturn:
        raise Unanswered(self.where, fault, name) from None


class _Line:
    """Connections of one user at a time, kept open between requests; no redirect is followed.

    What requests finds out for every single request (proxies and credentials of the environment,
    certificates, headers) is the same for all that go here, and takes longer than sending one: it
    is asked for once. What is sent goes to the pool of connections beneath it.
    """

    def __init__(self, url: str) -> None:
        from requests import Request, Session

        session = Session()
        headers = {"Content-Type": "application/json"}
        request = session.prepare_request(Request("POST", url, headers=headers))
        settings = session.merge_environment_settings(url, {}, True, None, None)
        proxies, verify, cert = (settings[key] for key in ("proxies", "verify", "cert"))
        adapter: Any = session.get_adapter(url)
        self._pool = adapter.get_connection_with_tls_context(
            request, verify, proxies=proxies, cert=cert
        )
        adapter.cert_verify(self._pool, request.url, verify, cert)
        self._url = adapter.request_url(request, proxies)
        self._headers = {k: v for k, v in request.headers.items() if k != "Content-Length"}

    def post(self, body: bytes, timeout_s: float) -> HTTPResponse:
        """Raises urllib3's exceptions."""
        answer: HTTPResponse = self._pool.urlopen(
            "POST",
            self._url,
            body=body,
            headers=self._headers,
            redirect=False,
            retries=False,
            assert_same_host=False,
            preload_content=False,
            timeout=timeout_s,
        )
        return answer


def _result(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise RpcUnavailable(
            "the RPC URL must start with http:// or https://",
            hint="set it in .env or pass --rpc-url",
        ) from None
    return parts


def _host(parts: SplitResult) -> str:
    host = str(parts.hostname)
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parts.port}" if parts.port else host


def _secrets(parts: SplitResult) -> tuple[str, ...]:
    """What of a URL may be a key, longest first; a node may repeat it in its own words."""
    found = {*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))}
    found |= {parts.username or "", parts.password or ""}
    found |= {unquote(text) for text in found}
    return tuple(sorted((t for t in found if len(t) >= _SECRET_LENGTH), key=len, reverse=True))


def _hide_paths(record: logging.LogRecord) -> bool:
    """Logging filter: no path, and so no key, of any request."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            "/..." if isinstance(arg, str) and arg.startswith("/") else arg for arg in record.args
        )
    return True
