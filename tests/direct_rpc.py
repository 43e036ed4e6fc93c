"""JSON-RPC over one connection that stays open, for tests that ask some ten thousand questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from rebalancer.evm.rpc import RpcError


class DirectRpc:
    """An ``Rpc`` without the care that strangers' endpoints need; not for several threads."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._http = HTTPConnection(str(where.hostname), where.port, timeout=30)

    def call(self, method: str, *params: Any) -> Any:
        answer = self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return _result(method, answer)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        requests = [
            {"jsonrpc": "2.0", "id": index, "method": method, "params": params}
            for index, (method, params) in enumerate(calls)
        ]
        answers = sorted(self._post(requests), key=lambda answer: int(answer["id"]))
        return [_result(m, a) for (m, _), a in zip(calls, answers, strict=True)]

    def _post(self, body: Any) -> Any:
        self._http.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(self._http.getresponse().read())


def _result(method: str, answer: Any) -> Any:
    if "error" in answer:
        error = answer["error"]
        raise RpcError(method, error["code"], error["message"], error.get("data"))
    return answer["result"]
