"""The RPC client against a server that misbehaves: one clear line, no secret, never a retry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from rebalancer.errors import RpcUnavailable
from rebalancer.evm.rpc import HttpRpc, RpcError

Answer = Callable[[object], tuple[int, bytes]]


class Server:
    """Answers every request with ``answer(request)`` and counts them."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: (200, b"")
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.requests += 1
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, text = outer.answer(body)
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v3/s3cr3t"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = Thread(target=made.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


def ok(body: object) -> tuple[int, bytes]:
    def one(request: dict[str, object]) -> dict[str, object]:
        return {"jsonrpc": "2.0", "id": request["id"], "result": request["method"]}

    answer = [one(r) for r in body] if isinstance(body, list) else one(body)  # type: ignore[arg-type]
    return 200, json.dumps(answer).encode()


def test_call_and_batch(server: Server) -> None:
    server.answer = ok
    rpc = HttpRpc(server.url)
    assert rpc.call("eth_chainId") == "eth_chainId"
    assert rpc.batch([("a", ()), ("b", (1,))]) == ["a", "b"]
    assert rpc.batch([]) == []


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (429, b"slow down"),
        (503, b"s3cr3t is down"),
        (200, b"<html>"),
        (200, b""),
        (200, b"[]"),
        (200, b"{}"),
        (200, b"null"),
        (200, b'"word"'),
        (200, b'[{"result": 1}]'),
    ],
)
def test_misbehaviour__one_line__one_request(server: Server, status: int, text: bytes) -> None:
    server.answer = lambda _: (status, text)
    for ask in (lambda r: r.call("eth_chainId"), lambda r: r.batch([("a", ()), ("b", ())])):
        before = server.requests
        with pytest.raises(RpcUnavailable) as caught:
            ask(HttpRpc(server.url))
        assert "s3cr3t" not in str(caught.value) + repr(caught.value) + caught.value.hint
        assert caught.value.__cause__ is None
        assert server.requests == before + 1


def test_node_says_no__code_and_message__url_hidden(server: Server) -> None:
    text = "cannot reach https://node.example/v3/s3cr3t now"
    body = {"jsonrpc": "2.0", "id": 0, "error": {"code": -32005, "message": text, "data": "0x"}}
    server.answer = lambda _: (200, json.dumps(body).encode())
    with pytest.raises(RpcError) as caught:
        HttpRpc(server.url).call("eth_call")
    assert (caught.value.code, caught.value.data) == (-32005, "0x")
    assert str(caught.value) == "eth_call: cannot reach <url> now (code -32005)"


@pytest.mark.parametrize("url", ["", "ftp://x", "127.0.0.1:8545", "http://"])
def test_url_that_is_none(url: str) -> None:
    with pytest.raises(RpcUnavailable, match="must start with http"):
        HttpRpc(url)


def test_repr__host_only() -> None:
    assert repr(HttpRpc("https://user:pass@node.example:8545/key")) == (
        "HttpRpc(https://node.example:8545)"
    )
