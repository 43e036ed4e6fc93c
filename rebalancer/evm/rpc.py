"""JSON-RPC over HTTP: one endpoint, one answer or one clear error.

``Rpc`` is the protocol that the rooms above depend on; ``HttpRpc`` is the implementation on
web3.py's provider with its retries off: a lost answer to ``eth_sendRawTransaction`` must come back
to us as lost, never as a silent second send.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from rebalancer.errors import RebalancerError, RpcUnavailable

_URL = re.compile(r"\b(?:https?|wss?)://\S+", re.IGNORECASE)


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


class Rpc(Protocol):
    """Anything that answers JSON-RPC."""

    def call(self, method: str, *params: Any) -> Any:
        """Result of one request; raises RpcError for the node's no, RpcUnavailable for silence."""

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Results of several requests in order; the first error is raised."""


class HttpRpc:
    """JSON-RPC at ``url``; never retries, never shows more of the URL than scheme and host."""

    def __init__(self, url: str, timeout_s: float = 20.0) -> None:
        from web3.providers.rpc import HTTPProvider

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RpcUnavailable(
                "the RPC URL must start with http:// or https://",
                hint="set it in .env or pass --rpc-url",
            )
        port = f":{parts.port}" if parts.port else ""
        self.where = f"{parts.scheme}://{parts.hostname}{port}"
        self._provider = HTTPProvider(
            url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None
        )

    def __repr__(self) -> str:
        return f"HttpRpc({self.where})"

    def call(self, method: str, *params: Any) -> Any:
        answer = self._answer(
            method, lambda: self._provider.make_request(cast(Any, method), params)
        )
        return self._result(method, answer)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if not calls:
            return []
        requests = cast(Any, [(method, params) for method, params in calls])
        answers = self._answer("batch", lambda: self._provider.make_batch_request(requests))
        if not isinstance(answers, list) or len(answers) != len(calls):
            raise RpcUnavailable(f"{self.where} does not answer batches")
        return [self._result(m, a) for (m, _), a in zip(calls, answers, strict=True)]

    def _answer(self, method: str, send: Any) -> Any:
        from requests.exceptions import HTTPError, RequestException, Timeout

        # ``from None``: the exceptions of requests carry the whole URL, which may hold an API key.
        try:
            return send()
        except Timeout:
            raise self._unavailable(method, "did not answer in time") from None
        except HTTPError as error:
            status = getattr(error.response, "status_code", "?")
            raise self._unavailable(method, f"answered HTTP {status}") from None
        except RequestException:
            raise self._unavailable(method, "cannot be reached") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            # Not JSON, or JSON of another shape: web3 sorts a batch's answers by their ids.
            raise self._unavailable(method, "did not answer with JSON-RPC") from None

    def _unavailable(self, method: str, what: str) -> RpcUnavailable:
        return RpcUnavailable(
            f"the RPC endpoint {self.where} {what} ({method})",
            hint="check that the node is up and the URL in .env or --rpc-url is right",
        )

    def _result(self, method: str, answer: Any) -> Any:
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise self._unavailable(method, "did not answer with JSON-RPC")
        error = answer.get("error")
        if error is None:
            return answer["result"]
        if isinstance(error, dict):
            code, message = error.get("code", 0), str(error.get("message", "unknown error"))
            raise RpcError(method, int(code), message, error.get("data"))
        raise RpcError(method, 0, str(error))
