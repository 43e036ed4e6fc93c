"""The RPC client against a server that misbehaves: one clear line, no secret, never a retry."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from rebalancer.errors import RpcUnavailable
from rebalancer.evm import rpc as module
from rebalancer.evm.rpc import HttpRpc, RequestTooLarge, RpcError, Unanswered

Answer = Callable[[object], tuple[int, bytes]]


class Server:
    """Answers every request with ``answer(request)`` and counts them."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: (200, b"")
        self.requests = 0
        self.location = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.requests += 1
                outer.asked.append((self.path, dict(self.headers.items())))
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, text = outer.answer(body)
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                if outer.location:
                    self.send_header("location", outer.location)
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


def answers(*bodies: object) -> Answer:
    return lambda _: (200, json.dumps(bodies[0] if len(bodies) == 1 else list(bodies)).encode())


def result(i: object, value: object = "0x1") -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": i, "result": value}


def test_batch_in_any_order__is_matched_by_id(server: Server) -> None:
    server.answer = answers(result(2, "c"), result(0, "a"), result(1, "b"))
    assert HttpRpc(server.url).batch([("x", ()), ("y", ()), ("z", ())]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "ids", [(0, 0), (1, 2), (0, None), (0, "1"), (True, 0), (0,), (0, 1, 2), (0, [1])]
)
def test_batch_of_other_ids__is_refused_and_never_guessed(
    server: Server, ids: tuple[object, ...]
) -> None:
    body = json.dumps([result(i) for i in ids]).encode()
    server.answer = lambda _: (200, body)
    with pytest.raises(Unanswered, match="answered other requests than were asked"):
        HttpRpc(server.url).batch([("x", ()), ("y", ())])


@pytest.mark.parametrize("other", [1, "0", None, [0]])
def test_call_of_another_id__is_refused(server: Server, other: object) -> None:
    server.answer = answers(result(other))
    with pytest.raises(Unanswered, match="answered another request than was asked"):
        HttpRpc(server.url).call("eth_chainId")


def test_error_without_id__is_the_answer_of_a_call_and_of_a_whole_batch(server: Server) -> None:
    server.answer = answers({"id": None, "error": {"code": -32005, "message": "limit"}})
    for ask in (lambda r: r.call("a"), lambda r: r.batch([("a", ()), ("b", ())])):
        with pytest.raises(RpcError, match="limit") as caught:
            ask(HttpRpc(server.url))
        assert caught.value.code == -32005


def test_batch__errors_stand_at_their_places(server: Server) -> None:
    bad = {"id": 1, "error": {"code": 3, "message": "execution reverted", "data": "0x08"}}
    server.answer = answers(result(0), bad, result(2, None))
    first, second, third = HttpRpc(server.url).ask([("a", ()), ("b", ()), ("c", ())])
    assert (first, third) == ("0x1", None)
    assert (second.method, second.code, second.data) == ("b", 3, "0x08")


@pytest.mark.parametrize("code", [None, "x", 1.5, {}])
def test_error_code_that_is_none__is_zero(server: Server, code: object) -> None:
    server.answer = answers({"id": 0, "error": {"code": code, "message": "m"}})
    with pytest.raises(RpcError) as caught:
        HttpRpc(server.url).call("a")
    assert caught.value.code == 0


def test_request_too_large__has_a_class_of_its_own(server: Server) -> None:
    server.answer = lambda _: (413, b"")
    with pytest.raises(RequestTooLarge):
        HttpRpc(server.url).call("a")


def test_credentials_of_the_url__go_with_every_request(server: Server) -> None:
    server.answer = ok
    rpc = HttpRpc(server.url.replace("//", "//user:pass@") + "?k=v")
    rpc.call("a")
    rpc.call("b")
    for path, headers in server.asked:
        assert path == "/v3/s3cr3t?k=v"
        assert headers["Authorization"] == "Basic dXNlcjpwYXNz"
        assert headers["Content-Type"] == "application/json"


def test_proxy_of_the_environment__is_gone_through(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = ok
    host = server.url.removeprefix("http://").partition("/")[0]
    monkeypatch.setenv("http_proxy", f"http://me:you@{host}")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert HttpRpc("http://node.example/v3/key").call("a") == "a"
    ((path, headers),) = server.asked
    assert path == "http://node.example/v3/key"
    assert headers["Host"] == "node.example"
    assert headers["Proxy-Authorization"].startswith("Basic ")


def test_redirect__is_not_followed(server: Server) -> None:
    """A transaction must not be posted on to wherever the answer points."""
    server.answer = lambda _: (307, b"")
    server.location = server.url
    with pytest.raises(Unanswered, match="answered HTTP 307"):
        HttpRpc(server.url).call("eth_sendRawTransaction", "0x")
    assert server.requests == 1


def test_deep_nesting__is_refused(server: Server) -> None:
    server.answer = lambda _: (200, b"[" * 100_000)
    with pytest.raises(Unanswered, match="did not answer with JSON-RPC"):
        HttpRpc(server.url).call("a")


def test_answer_without_end__is_not_read_to_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1_000)
    server.answer = lambda _: (200, b" " * 200_000)
    with pytest.raises(Unanswered, match="answers more than is read"):
        HttpRpc(server.url).call("a")


def test_answer_drop_by_drop__is_out_of_time(server: Server) -> None:
    """Every piece comes in time, the whole does not."""
    seconds = iter([0.0, 0.5, 1.5])
    server.answer = answers(result(0))
    with pytest.raises(Unanswered, match="did not answer in time"):
        HttpRpc(server.url, timeout_s=0.4, clock=lambda: next(seconds)).call("a")


def test_key__is_not_in_the_nodes_words_either(server: Server) -> None:
    server.url = server.url.replace("s3cr3t", "s3cr3t-k%65y?apikey=other-secret")
    text = "project s3cr3t-key (s3cr3t-k%65y) and other-secret are over their limit"
    server.answer = answers({"id": 0, "error": {"code": -32005, "message": text}})
    with pytest.raises(RpcError) as caught:
        HttpRpc(server.url).call("a")
    assert str(caught.value) == "a: project *** (***) and *** are over their limit (code -32005)"


def test_key__is_in_no_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.answer = ok
    with caplog.at_level(logging.DEBUG):
        HttpRpc(server.url).call("eth_chainId")
    said = [record.getMessage() for record in caplog.records]
    assert any("POST" in line for line in said), "the filter is what is tested"
    assert not any("s3cr3t" in line for line in said)
