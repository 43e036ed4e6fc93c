"""The same reads by a peer, in a process and an environment of its own.

``python peer_reads.py PEER URL BLOCK`` with the views as a line of JSON on stdin, each an address,
a signature with its returns, and one address to ask about or nothing. Prints a line when it is
ready, and then for each further line a pass, as a line of JSON: its requests, its time, and a hash
of all the answers, sorted.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

Views = Sequence[Sequence[str]]
Answers = list[tuple[str, str, str, int]]

#: Views of the pass that is not measured.
_WARM_UP = 100

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

#: HTTP requests that went out, however they were made.
sent = 0


def count_requests() -> None:
    """Count at the transports that the peers use."""
    import aiohttp
    import requests

    def counted(inner: Callable[..., Any]) -> Callable[..., Any]:
        def send(*args: Any, **kwargs: Any) -> Any:
            global sent
            sent += 1
            return inner(*args, **kwargs)

        return send

    aiohttp.ClientSession._request = counted(aiohttp.ClientSession._request)  # type: ignore[method-assign]
    requests.Session.send = counted(requests.Session.send)  # type: ignore[method-assign]


def by_multicall(url: str, views: Views, block: int) -> Answers:
    """``multicall``: as its README has it, at one block; the rest of a snapshot with web3."""
    from multicall import Call, Multicall  # type: ignore[import-not-found]
    from multicall.multicall import batcher  # type: ignore[import-not-found]
    from web3 import HTTPProvider, Web3

    # Anvil takes 2 MB in a request, and the package does not ask for less when it is refused.
    batcher.step = 5_000
    w3 = Web3(HTTPProvider(url, request_kwargs={"timeout": 60}))
    header = w3.eth.get_block(block)
    calls = [
        Call(
            address,
            [signature, owner] if owner else [signature],
            [((view, place), None) for place in range(signature.count(",") + 1)],
        )
        for view, (address, signature, owner) in enumerate(views)
    ]
    found = Multicall(calls, block_id=block, _w3=w3)()
    _fee_and_recheck(w3, header)
    return [
        (address, signature, owner, int(found[i, _place(signature)]))
        for i, (address, signature, owner) in enumerate(views)
    ]


def by_web3_ethereum_defi(url: str, views: Views, block: int) -> Answers:
    """``web3-ethereum-defi``: chunked multicalls in threads; processes would cost it more here."""
    from eth_defi.event_reader import (  # type: ignore[import-not-found]
        multicall_batcher as batcher,
    )
    from web3 import HTTPProvider, Web3

    def connect(context: Any = None) -> Any:
        return Web3(HTTPProvider(url, request_kwargs={"timeout": 60}))

    # It knows when Multicall3 came to mainnet and reads nothing before; here it was always there.
    batcher.get_multicall_block_number = lambda chain_id: None
    batcher.MUTLICALL_DEPLOYED_AT.clear()
    w3 = connect()
    header = w3.eth.get_block(block)
    calls = [
        batcher.EncodedCall.from_keccak_signature(
            address=address,
            signature=Web3.keccak(text=signature[: signature.index(")") + 1])[:4],
            function=signature.partition("(")[0],
            data=bytes(12) + bytes.fromhex(owner[2:]) if owner else b"",
            extra_data={"view": view},
        )
        for view, (address, signature, owner) in enumerate(views)
    ]
    answers: Answers = []
    for result in batcher.read_multicall_chunked(
        chain_id=1,
        web3factory=connect,
        calls=calls,
        block_identifier=block,
        timestamped_results=False,
        backend="threading",
    ):
        address, signature, owner = views[result.call.extra_data["view"]]
        start = 32 * _place(signature)
        value = int.from_bytes(result.result[start : start + 32], "big")
        answers.append((address, signature, owner, value))
    _fee_and_recheck(w3, header)
    return answers


PEERS = {"multicall": by_multicall, "web3-ethereum-defi": by_web3_ethereum_defi}


def _fee_and_recheck(w3: Any, header: Any) -> None:
    """What else a snapshot reads: the suggested fee, and whether the block still stands."""
    _ = w3.eth.max_priority_fee
    if w3.eth.get_block(header["number"])["hash"] != header["hash"]:
        raise RuntimeError("the chain was reorganised")


def _place(signature: str) -> int:
    """Which of the returned values counts: of a round, its answer."""
    return 1 if signature.startswith("latestRoundData") else 0


def digest(answers: Answers) -> str:
    return hashlib.sha256(json.dumps(sorted(answers)).encode()).hexdigest()


def main(peer: str, url: str, block: int) -> None:
    views = json.loads(sys.stdin.readline())
    read = PEERS[peer]
    count_requests()
    read(url, views[:_WARM_UP], block)  # imports and caches
    print("ready", flush=True)
    for _ in sys.stdin:
        before = sent
        gc.collect()
        start = time.perf_counter()
        answers = read(url, views, block)
        seconds = time.perf_counter() - start
        found = {"requests": sent - before, "seconds": seconds, "answers": digest(answers)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
