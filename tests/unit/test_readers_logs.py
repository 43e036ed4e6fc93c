"""Log scans: pages that shrink and grow, a scan that goes on, and answers that are not believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from numbered_chain import at, header

from rebalancer.errors import ReadError, RpcUnavailable
from rebalancer.evm.rpc import RpcError
from rebalancer.readers.chain import Reorganised
from rebalancer.readers.logs import (
    FIRST_SPAN,
    MAX_SPAN,
    TRANSFER,
    Filter,
    LogScan,
    address_of,
    logs_of_block,
    transfers_of,
    uints,
    word,
)

ERC20 = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
OWNER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


def raw_log(
    number: int, index: int = 0, sender: str = OTHER, receiver: str = OWNER
) -> dict[str, Any]:
    return {
        "address": ERC20.lower(),
        "topics": [TRANSFER, word(sender), word(receiver)],
        "data": f"0x{number:064x}",
        "blockNumber": hex(number),
        "blockHash": f"0x{number:064x}",
        "transactionHash": f"0x{number * 1000 + index:064x}",
        "logIndex": hex(index),
        "removed": False,
    }


class Node:
    """Answers eth_getLogs from a list; ``limit`` blocks a page, or as many results."""

    def __init__(self, logs: Sequence[dict[str, Any]], **faults: Any) -> None:
        self.logs = list(logs)
        self.most_blocks: int = faults.get("most_blocks", 10**9)
        self.most_results: int = faults.get("most_results", 10**9)
        self.refusal: Exception = faults.get("refusal", RpcError("eth_getLogs", -32005, "no"))
        self.broken_from: int | None = faults.get("broken_from")
        self.reorganised: dict[int, str] = {}
        self.looks: list[int] = []
        self.pages: list[tuple[int, int]] = []
        self.refused = 0

    def call(self, method: str, *params: Any) -> Any:
        return self.batch([(method, params)])[0]

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [self._one(method, params) for method, params in calls]

    def _one(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getBlockByNumber":
            return self._header(int(params[0], 16))
        return self._answer(*params)

    def _header(self, number: int) -> Any:
        self.looks.append(number)
        return header(number, self.reorganised.get(number))

    def _answer(self, wanted: dict[str, Any]) -> Any:
        first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        found = [
            log
            for log in self.logs
            if first <= int(log["blockNumber"], 16) <= last
            and all(
                topic is None or topic == got
                for topic, got in zip(wanted["topics"], log["topics"], strict=False)
            )
        ]
        if self.broken_from is not None and last >= self.broken_from:
            raise self.refusal
        if last - first + 1 > self.most_blocks or len(found) > self.most_results:
            self.refused += 1
            raise self.refusal
        self.pages.append((first, last))
        return found


def to_owner() -> tuple[Filter, ...]:
    return (Filter((ERC20,), (TRANSFER, None, word(OWNER))),)


@pytest.mark.parametrize("code", [-32005, -32602, -32000, -32600, -32603, 35])
@pytest.mark.parametrize("limits", [{"most_blocks": 777}, {"most_results": 3}])
def test_scan__whatever_the_node_allows__finds_every_log_once(
    code: int, limits: dict[str, int]
) -> None:
    numbers = [5, 5, 5, 900, 901, 902, 903, 30_000, 99_999, 100_000]
    logs = [raw_log(number, index) for index, number in enumerate(numbers)]
    node = Node(logs, refusal=RpcError("eth_getLogs", code, "Query returned too much"), **limits)
    found = LogScan(to_owner(), 1).advance(node, at(100_000))
    assert [(log.block_number, log.index) for log in found] == [
        (n, i) for i, n in enumerate(numbers)
    ]
    # The pages follow one another without a gap and without an overlap.
    assert node.pages[0][0] == 1
    assert node.pages[-1][1] == 100_000
    assert all(b[0] == a[1] + 1 for a, b in zip(node.pages, node.pages[1:], strict=False))
    assert node.refused
    assert node.refused < len(node.pages)


def test_scan__few_logs__takes_few_requests() -> None:
    node = Node([raw_log(7)])
    assert len(LogScan(to_owner(), 0).advance(node, at(20_000_000))) == 1
    sizes = [last - first + 1 for first, last in node.pages]
    assert sizes[0] == FIRST_SPAN
    assert max(sizes) <= MAX_SPAN
    assert len(sizes) < 15


@pytest.mark.parametrize("limit", [999, 10_000, 12_345])
def test_scan__limit_of_blocks__is_come_close_to(limit: int) -> None:
    """The best fixed page would take a request for each ``limit`` blocks; nobody knows it."""
    node = Node([raw_log(7)], most_blocks=limit)
    blocks = 100 * limit
    assert len(LogScan(to_owner(), 0).advance(node, at(blocks - 1))) == 1
    assert node.refused + len(node.pages) <= 135


def test_scan__after_a_dense_stretch__grows_again() -> None:
    dense = [raw_log(number) for number in range(1_000, 1_200)]
    node = Node(dense, most_results=5)
    assert len(LogScan(to_owner(), 0).advance(node, at(200_000))) == 200
    sizes = [last - first + 1 for first, last in node.pages]
    assert min(sizes) <= 5
    assert sizes[-2] > 10_000


def test_scan__interrupted__goes_on_where_it_was_and_asks_nothing_twice() -> None:
    logs = [raw_log(number) for number in (10, 60_000, 160_000)]
    node = Node(logs, broken_from=160_000, refusal=RpcUnavailable("gone"))
    scan = LogScan(to_owner(), 0)
    with pytest.raises(RpcUnavailable):
        scan.advance(node, at(200_000))
    read = list(node.pages)
    assert scan.next_block == read[-1][1] + 1
    assert [log.block_number for log in scan.found.values()] == [10, 60_000]
    node.broken_from = None
    assert [log.block_number for log in scan.advance(node, at(200_000))] == [10, 60_000, 160_000]
    assert node.pages[len(read)][0] == read[-1][1] + 1
    # The cursor is two numbers: another scan may begin there.
    other = LogScan(to_owner(), next_block=100_000, span=scan.span)
    assert [log.block_number for log in other.advance(node, at(200_000))] == [160_000]
    earlier = scan.advance(node, at(150_000))
    assert [log.block_number for log in earlier] == [10, 60_000]


def test_scan__node_that_hangs_up_on_large_pages__is_asked_for_smaller_ones() -> None:
    node = Node([raw_log(9)], most_blocks=20_000, refusal=RpcUnavailable("HTTP 413"))
    assert len(LogScan(to_owner(), 0).advance(node, at(100_000))) == 1


def test_scan__node_that_is_gone__is_not_asked_forever() -> None:
    node = Node([], most_blocks=0, refusal=RpcUnavailable("cannot be reached"))
    with pytest.raises(RpcUnavailable, match="cannot be reached"):
        LogScan(to_owner(), 0).advance(node, at(10**7))
    assert node.refused == 3


@pytest.mark.parametrize(("code", "requests"), [(-32601, 1), (-32000, 17)])
def test_scan__refused_for_good__says_so(code: int, requests: int) -> None:
    node = Node([], most_blocks=0, refusal=RpcError("eth_getLogs", code, "see https://x.y/KEY"))
    with pytest.raises(ReadError, match="the logs of blocks 5 to") as caught:
        LogScan(to_owner(), 5).advance(node, at(10**7))
    assert node.refused <= requests
    assert "KEY" not in str(caught.value)


def without(log: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in log.items() if k != key}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        "0x",
        ["0x"],
        [without(raw_log(3), "topics")],
        [without(raw_log(3), "data")],
        [without(raw_log(3), "logIndex")],
        [raw_log(3) | {"address": "0x12"}],
        [raw_log(3) | {"address": OTHER}],
        [raw_log(11)],
        [raw_log(3, receiver=OTHER)],
        [raw_log(3) | {"topics": [TRANSFER]}],
        [raw_log(3) | {"topics": ["0x1"]}],
        [raw_log(3) | {"blockNumber": 3}],
        [raw_log(3) | {"data": "0x0"}],
    ],
)
def test_scan__answer_to_another_question__is_refused(answer: Any) -> None:
    class Liar(Node):
        def _answer(self, wanted: dict[str, Any]) -> Any:
            return answer

    with pytest.raises(RpcUnavailable):
        LogScan(to_owner(), 0).advance(Liar([]), at(10))


def test_scan__event_that_was_reorganised_away__is_no_event() -> None:
    class Removed(Node):
        def _answer(self, wanted: dict[str, Any]) -> Any:
            return [raw_log(3) | {"removed": True}]

    with pytest.raises(ReadError, match="reorganised away"):
        LogScan(to_owner(), 0).advance(Removed([]), at(10))


def test_transfers_of__both_ways__one_to_oneself_once() -> None:
    logs = [
        raw_log(1, 0, OWNER, OTHER),
        raw_log(1, 1, OTHER, OWNER),
        raw_log(2, 0, OWNER, OWNER),
        raw_log(3, 0, OTHER, OTHER),
    ]
    found = LogScan(transfers_of(OWNER, (ERC20,)), 0).advance(Node(logs), at(9))
    assert [(log.block_number, log.index) for log in found] == [(1, 0), (1, 1), (2, 0)]
    assert address_of(found[0].topics[1]) == OWNER
    assert uints(found[0], 1) == (1,)
    with pytest.raises(RpcUnavailable, match="32 bytes of data"):
        uints(found[0], 2)


def test_logs_of_block__in_their_order() -> None:
    node = Node([raw_log(4, 2), raw_log(4, 1), raw_log(6, 0), raw_log(5, 0)])
    found = logs_of_block(node, ERC20, [4, 6, 4], at(9))
    assert {n: [log.index for log in logs] for n, logs in found.items()} == {4: [1, 2], 6: [0]}


OTHER_CHAIN = "0x" + "ee" * 32


def test_scan__every_page__is_of_a_chain_that_has_the_block_before_and_after() -> None:
    node = Node([raw_log(7), raw_log(60_000)])
    scan = LogScan(to_owner(), 0)
    assert len(scan.advance(node, at(90_000))) == 2
    assert len(node.pages) == 2
    assert node.looks == [90_000] * 4
    assert scan.through == at(90_000)


def test_scan__block_that_is_not_on_the_chain__is_noticed() -> None:
    node = Node([raw_log(7)])
    node.reorganised[100] = OTHER_CHAIN
    with pytest.raises(Reorganised, match=f"^block 100 .{at(100).hash}. is not part") as caught:
        LogScan(to_owner(), 0).advance(node, at(100))
    assert caught.value.block == 100
    assert "try again" in caught.value.hint


def test_scan__node_that_lacks_the_block__is_not_believed() -> None:
    class Behind(Node):
        def _header(self, number: int) -> Any:
            return None

    with pytest.raises(Reorganised, match="block 100"):
        LogScan(to_owner(), 0).advance(Behind([raw_log(7)]), at(100))


@pytest.mark.parametrize("look", range(4))
def test_scan__reorganised_at_any_moment__is_noticed(look: int) -> None:
    """Two pages, each with a look before and after it: whichever sees the other chain."""

    class Turning(Node):
        def _header(self, number: int) -> Any:
            self.looks.append(number)
            return header(number, OTHER_CHAIN if len(self.looks) > look else None)

    with pytest.raises(Reorganised):
        LogScan(to_owner(), 0).advance(Turning([raw_log(7)]), at(90_000))


def test_scan__that_goes_on__must_be_on_the_chain_that_it_was_on() -> None:
    node = Node([raw_log(7), raw_log(150)])
    scan = LogScan(to_owner(), 0)
    scan.advance(node, at(100))
    assert len(scan.advance(node, at(200))) == 2
    assert node.looks[2:] == [200, 100, 200, 100]
    node.reorganised[200] = OTHER_CHAIN
    with pytest.raises(Reorganised, match="block 200"):
        scan.advance(node, at(300))
    # Also where there is nothing more to read: what was found would be of another chain.
    with pytest.raises(Reorganised, match="block 200"):
        scan.advance(node, at(100))
    with pytest.raises(Reorganised, match="block 200"):
        scan.advance(node, at(200, OTHER_CHAIN))
    assert [log.block_number for log in scan.advance(node, at(200))] == [7, 150]


def test_scan__nothing_more_to_read_of_the_same_block__asks_nothing() -> None:
    node = Node([])
    scan = LogScan(to_owner(), 0)
    scan.advance(node, at(100))
    looks = len(node.looks)
    assert scan.advance(node, at(100)) == ()
    assert len(node.looks) == looks


@pytest.mark.parametrize("number", [100, 7])
def test_scan__event_of_another_block_with_the_number__is_noticed(number: int) -> None:
    other = raw_log(number, 1) | {"blockHash": OTHER_CHAIN}
    with pytest.raises(Reorganised, match=f"events of two blocks {number}"):
        LogScan(to_owner(), 0).advance(Node([raw_log(7), other]), at(100))


def test_logs_of_block__block_that_is_not_on_the_chain__is_noticed() -> None:
    node = Node([raw_log(4)])
    node.reorganised[9] = OTHER_CHAIN
    with pytest.raises(Reorganised, match="block 9"):
        logs_of_block(node, ERC20, [4], at(9))
