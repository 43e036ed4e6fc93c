"""A proxy in front of a node that misbehaves on order: what bad endpoints do, over real sockets.

``FAULTS`` are the ways in which reads go wrong, ``SEND_FAULTS`` those of sending. A fault is a
function of an ``Exchange``: one HTTP request, with the means to forward, answer, cut or ignore it.
"""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

KEY_IN_URL = "s3cr3t-key-0123456789"
WRONG_CHAIN = "0x89"


class Proxy:
    """Forwards JSON-RPC to ``upstream``; ``fault`` decides what becomes of each request.

    The first ``spare`` requests are let through. ``sent`` are the raw transactions in requests,
    one entry for each request that had one. ``stale_at`` is where a stale endpoint stands still.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.fault: Fault = honest
        self.spare = 0
        self.requests = 0
        self.stale_at = 0
        self.sent: list[str] = []
        self.closing = Event()
        self._lock = Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                fault = proxy.note(json.loads(body))
                fault(Exchange(proxy, self, json.loads(body)))

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v3/{KEY_IN_URL}"
        self._thread = Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def note(self, request: Any) -> Fault:
        with self._lock:
            self.requests += 1
            for call in request if isinstance(request, list) else [request]:
                if call["method"] == "eth_sendRawTransaction":
                    self.sent.append(call["params"][0])
            if self.spare:
                self.spare -= 1
                return honest
            return self.fault

    def misbehave(self, fault: Fault, spare: int = 0) -> None:
        self.fault, self.spare = fault, spare

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@dataclass(frozen=True)
class Exchange:
    """One HTTP request on its way through the proxy."""

    proxy: Proxy
    handler: BaseHTTPRequestHandler
    request: Any

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.request if isinstance(self.request, list) else [self.request]

    def forward(self, request: Any = None) -> Any:
        """The node's answer to ``request`` (by default the one that came)."""
        body = json.dumps(self.request if request is None else request).encode()
        post = urllib.request.Request(  # noqa: S310 - the URL is a test's own
            self.proxy.upstream, body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(post, timeout=30) as response:  # noqa: S310
            return json.loads(response.read())

    def ask(self, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 0, "method": method, "params": params}
        return self.forward(request)["result"]

    def reply(self, answer: Any, status: int = 200) -> None:
        self.send(json.dumps(answer).encode(), status)

    def send(self, body: bytes, status: int = 200, claimed: int | None = None) -> None:
        self.handler.send_response(status)
        self.handler.send_header("content-length", str(claimed or len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def cut(self) -> None:
        """End the connection."""
        self.handler.wfile.flush()
        self.handler.connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.proxy.closing.wait(30)

    def each(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Reply with ``answer`` of every call: its result or error."""
        answers = [{"jsonrpc": "2.0", "id": c["id"], **answer(c)} for c in self.calls]
        self.reply(answers if isinstance(self.request, list) else answers[0])


Fault = Callable[[Exchange], None]


def honest(exchange: Exchange) -> None:
    exchange.reply(exchange.forward())


def http(status: int) -> Fault:
    return lambda exchange: exchange.send(f"{KEY_IN_URL} says no".encode(), status)


def hang(exchange: Exchange) -> None:
    exchange.hang()


def drip(exchange: Exchange) -> None:
    """One byte at a time, each in time, the whole never."""
    body = json.dumps(exchange.forward()).encode()
    exchange.send(b"", claimed=len(body))
    for byte in body:
        if exchange.proxy.closing.wait(0.05):
            return
        try:
            exchange.handler.wfile.write(bytes([byte]))
        except OSError:
            return


def drop(exchange: Exchange) -> None:
    exchange.cut()


def half_a_body(exchange: Exchange) -> None:
    body = json.dumps(exchange.forward()).encode()
    exchange.send(body[: len(body) // 2], claimed=len(body))
    exchange.cut()


def truncated_json(exchange: Exchange) -> None:
    body = json.dumps(exchange.forward()).encode()
    exchange.send(body[: len(body) // 2])


def garbage(exchange: Exchange) -> None:
    exchange.send(b"<html>Welcome to nginx!</html>")


def nothing(exchange: Exchange) -> None:
    exchange.send(b"")


def error(code: int) -> Fault:
    """The same error for every call, in words that name the key."""
    body = {"code": code, "message": f"project {KEY_IN_URL} says no"}
    return lambda exchange: exchange.each(lambda _: {"error": body})


def error_for_the_batch(exchange: Exchange) -> None:
    body = {"code": -32005, "message": "batch limit exceeded"}
    exchange.reply({"jsonrpc": "2.0", "id": None, "error": body})


def value(result: Any) -> Fault:
    """The same result for every call."""
    return lambda exchange: exchange.each(lambda _: {"result": result})


def cut_data(exchange: Exchange) -> None:
    """Valid hex, half of it."""
    answers = exchange.forward()
    for answer in answers if isinstance(answers, list) else [answers]:
        result = answer.get("result")
        if isinstance(result, str) and len(result) > 66:
            answer["result"] = result[: 2 + (len(result) // 4) * 2]
    exchange.reply(answers)


def wrong_chain(exchange: Exchange) -> None:
    answers = exchange.forward()
    pairs = zip(exchange.calls, answers if isinstance(answers, list) else [answers], strict=True)
    for call, answer in pairs:
        if call["method"] == "eth_chainId":
            answer["result"] = WRONG_CHAIN
    exchange.reply(answers)


def stale(exchange: Exchange) -> None:
    """A node that stands still at ``stale_at`` and knows nothing of what came after."""
    at = exchange.proxy.stale_at

    def answer(call: dict[str, Any]) -> dict[str, Any]:
        method, params = call["method"], list(call["params"])
        if method == "eth_blockNumber":
            return {"result": hex(at)}
        if method == "eth_getBlockByHash":
            block = exchange.ask(method, *params)
            return {"result": block if block and int(block["number"], 16) <= at else None}
        for i, parameter in enumerate(params):
            if isinstance(parameter, dict) and "blockHash" in parameter:
                block = exchange.ask("eth_getBlockByHash", parameter["blockHash"], False)
                if block is None or int(block["number"], 16) > at:
                    return {"error": {"code": -32000, "message": "header not found"}}
            if parameter in ("latest", "pending"):
                params[i] = hex(at)
        if method == "eth_getBlockByNumber" and int(params[0], 16) > at:
            return {"result": None}
        reply = exchange.forward({**call, "params": params})
        return {key: reply[key] for key in ("result", "error") if key in reply}

    exchange.each(answer)


def reversed_batch(exchange: Exchange) -> None:
    """In another order, each answer with its own id: allowed by JSON-RPC."""
    answers = exchange.forward()
    exchange.reply(answers[::-1] if isinstance(answers, list) else answers)


def ids_swapped(exchange: Exchange) -> None:
    """Every answer under the id of another request."""
    answers = exchange.forward()
    if isinstance(answers, list):
        ids = [answer["id"] for answer in answers][::-1]
        answers = [{**answer, "id": i} for answer, i in zip(answers, ids, strict=True)]
    else:
        answers["id"] += 1
    exchange.reply(answers)


def one_answer_missing(exchange: Exchange) -> None:
    answers = exchange.forward()
    exchange.reply(answers[:-1] if isinstance(answers, list) else {})


def one_answer_twice(exchange: Exchange) -> None:
    answers = exchange.forward()
    exchange.reply([answers[0], *answers[:-1]] if isinstance(answers, list) else [answers] * 2)


def every_other(fault: Fault) -> Fault:
    """Every second request goes wrong."""

    def act(exchange: Exchange) -> None:
        (fault if exchange.proxy.requests % 2 else honest)(exchange)

    return act


def no_block_hash(exchange: Exchange) -> None:
    """A node from before EIP-1898: a block hash in place of a number is an invalid parameter."""

    def answer(call: dict[str, Any]) -> dict[str, Any]:
        if any(isinstance(p, dict) and "blockHash" in p for p in call["params"]):
            return {"error": {"code": -32602, "message": "invalid argument 1: hex string expected"}}
        reply = exchange.forward(call)
        return {key: reply[key] for key in ("result", "error") if key in reply}

    exchange.each(answer)


def block_hash_ignored(exchange: Exchange) -> None:
    """A node that takes any block hash for the block before the newest."""
    before = hex(int(exchange.ask("eth_blockNumber"), 16) - 1)

    def answer(call: dict[str, Any]) -> dict[str, Any]:
        params = [before if isinstance(p, dict) and "blockHash" in p else p for p in call["params"]]
        reply = exchange.forward({**call, "params": params})
        return {key: reply[key] for key in ("result", "error") if key in reply}

    exchange.each(answer)


#: Ways in which an endpoint that is asked alone cannot give the right answer: it is refused.
HOPELESS: dict[str, Fault] = {
    "429": http(429),
    "503": http(503),
    "redirect": http(307),
    "timeout": hang,
    "drip": drip,
    "drop": drop,
    "half a body": half_a_body,
    "truncated JSON": truncated_json,
    "garbage": garbage,
    "nothing": nothing,
    "-32005": error(-32005),
    "error 429": error(429),
    "error without a code": error(0),
    "limit for the batch": error_for_the_batch,
    "wrong chain": wrong_chain,
    "nonsense values": value("0xnonsense"),
    "a number everywhere": value("0x1"),
    "null everywhere": value(None),
    "data cut in half": cut_data,
    "ids swapped": ids_swapped,
    "one answer missing": one_answer_missing,
    "one answer twice": one_answer_twice,
}
#: Ways that take real time to find out.
SLOW = ("timeout", "drip")
#: Ways that can be coped with.
BEARABLE: dict[str, Fault] = {
    "every other 429": every_other(http(429)),
    "every other drop": every_other(drop),
    "batch reversed": reversed_batch,
    "no EIP-1898": no_block_hash,
    "block hash ignored": block_hash_ignored,
    "stale head": stale,
}
FAULTS = {**HOPELESS, **BEARABLE}


def delivered_then(fault: Fault) -> Fault:
    """The node gets the transaction, the sender hears something else."""

    def act(exchange: Exchange) -> None:
        exchange.forward()
        fault(exchange)

    return act


#: What can happen to a send; True when the node has the transaction afterwards.
SEND_FAULTS: dict[str, tuple[Fault, bool]] = {
    "429": (http(429), False),
    "503": (http(503), False),
    "-32005": (error(-32005), False),
    "dropped": (drop, False),
    "timeout": (hang, False),
    "delivered, then dropped": (delivered_then(drop), True),
    "delivered, then 503": (delivered_then(http(503)), True),
    "delivered, then silence": (delivered_then(hang), True),
    "delivered, then garbage": (delivered_then(garbage), True),
    "delivered, then another hash": (delivered_then(value("0x" + "11" * 32)), True),
    "delivered, then null": (delivered_then(value(None)), True),
    "delivered, then half a body": (half_a_body, True),
    "delivered, then -32005": (delivered_then(error(-32005)), True),
}


def only_sends(fault: Fault, first: int = 10**6) -> Fault:
    """``fault`` for the ``first`` sends that come to a proxy, honest for everything else."""

    def act(exchange: Exchange) -> None:
        sends = exchange.calls[0]["method"] == "eth_sendRawTransaction"
        (fault if sends and len(exchange.proxy.sent) <= first else honest)(exchange)

    return act
