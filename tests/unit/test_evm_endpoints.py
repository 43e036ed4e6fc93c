"""Several endpoints as one: the right answer or a clear refusal, and never a second send."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from threading import Event
from typing import Any

import pytest
from evm_fakes import (
    CHAIN_ID,
    Chain,
    Clock,
    FakeTransport,
    World,
    block_hash,
    hash_of,
    wait_for_threads,
)

from rebalancer.errors import ChainMismatch, ConfigError, ReadError, RpcUnavailable
from rebalancer.evm import roster
from rebalancer.evm.background import start
from rebalancer.evm.endpoints import Endpoints
from rebalancer.evm.health import Limits
from rebalancer.evm.rpc import Call, RequestTooLarge, RpcError, Unanswered

RAW = "0x02f8"
OWNER = "0x" + "0f" * 20
LATEST = ("eth_getBalance", OWNER, "latest")


def at(number: int, branch: int = 0) -> tuple[str, str, dict[str, str]]:
    return ("eth_getBalance", OWNER, {"blockHash": block_hash(number, branch)})


# Admission


def test_first_use__looks_at_every_endpoint_before_it_is_used() -> None:
    world = World(2)
    assert world.rpc.call("eth_chainId") == hex(CHAIN_ID)
    look = ["eth_chainId", "eth_getBlockByNumber", "anvil_metadata", "eth_getBalance"]
    assert [t.methods()[0] for t in world.transports] == [look, look]
    assert world.asked() == [2, 1]


def test_wrong_chain__is_never_used_again() -> None:
    world = World(2)
    world.chains[0].chain_id = 137
    assert world.rpc.call(*LATEST) == hex(100)
    world.chains[0].chain_id = CHAIN_ID
    world.transports[1].down()
    with pytest.raises(RpcUnavailable, match="none of the 2 RPC endpoints"):
        world.rpc.call(*LATEST)
    with pytest.raises(RpcUnavailable):
        world.rpc.call("eth_sendRawTransaction", RAW)
    assert world.asked()[0] == 1
    assert world.trouble()[0] == "serves chain 137, chain 1 is wanted"


@pytest.mark.parametrize("count", [1, 2])
def test_wrong_chain_everywhere__is_a_chain_mismatch_at_once(count: int) -> None:
    world = World(count)
    for chain in world.chains:
        chain.chain_id = 10
    with pytest.raises(ChainMismatch, match=r"https://a\.example serves chain 10, chain 1 is want"):
        world.rpc.call("eth_blockNumber")
    assert world.clock.slept == []
    assert world.asked() == [1] * count


def test_chain_that_changes_behind_the_url__is_noticed_in_the_same_request() -> None:
    world = World(2)
    assert world.rpc.call(*LATEST) == hex(100)
    world.chains[0].chain_id, world.chains[0].head = 137, 60_000_000
    assert world.rpc.call(*LATEST) == hex(100)
    assert world.trouble()[0] == "serves chain 137, chain 1 is wanted"
    assert world.rpc.call(*LATEST) == hex(100), "its head does not count"


@pytest.mark.parametrize("chain_id", [None, "one", {"id": 1}])
def test_chain_id_that_is_none__is_not_admitted(chain_id: object) -> None:
    world = World(2)
    world.chains[0].answers["eth_chainId"] = lambda: chain_id
    assert world.rpc.call(*LATEST) == hex(100)
    assert world.trouble()[0] == "answered eth_chainId with nonsense"


def test_chain_id_refused__is_not_admitted() -> None:
    world = World(2)
    world.chains[0].missing.add("eth_chainId")
    assert world.rpc.call(*LATEST) == hex(100)
    assert world.trouble()[0] == "shows no chain id or no head"


def test_endpoint_that_is_down_at_first__is_used_when_it_is_up() -> None:
    world = World(2)
    world.transports[0].down()
    world.rpc.call(*LATEST)
    world.transports[0].well()
    world.transports[1].down()
    world.clock.now += 60
    assert world.rpc.call(*LATEST) == hex(100)


def test_anvil_among_real_nodes__is_refused_at_the_start() -> None:
    """It shares its chain id with the chain that it forks."""
    world = World(2)
    world.chains[1].anvil = "0xabc"
    with pytest.raises(ConfigError, match="not of one chain: a local Anvil is among them"):
        world.rpc.call("eth_blockNumber")


def test_anvil_that_joins_real_nodes__is_never_used() -> None:
    world = World(2)
    world.chains[1].anvil = "0xabc"
    world.transports[1].down()
    world.rpc.call(*LATEST)
    world.transports[1].well()
    world.chains[1].head = 500
    world.clock.now += 60
    assert world.rpc.call(*LATEST) == hex(100)
    assert "one of them is a local Anvil" in world.trouble()[1]


def test_two_ways_to_one_anvil__are_one_chain() -> None:
    world = World(2)
    for chain in world.chains:
        chain.anvil = "0xabc"
    assert world.rpc.call("anvil_metadata") == {"instanceId": "0xabc"}


# Failover


def silent(transport: FakeTransport) -> None:
    transport.down()


def limited(transport: FakeTransport) -> None:
    transport.says(-32005, "daily request count exceeded")


def too_many(transport: FakeTransport) -> None:
    transport.says(429, "slow down")


def nonsense(transport: FakeTransport) -> None:
    transport.fault = lambda calls: ["<html>"] * len(calls)


def empty(transport: FakeTransport) -> None:
    transport.fault = lambda calls: [None] * len(calls)


FAULTS = [silent, limited, too_many, nonsense, empty]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [LATEST, at(90), ("eth_getBlockByNumber", "latest", False)])
def test_one_endpoint_at_fault__the_other_answers(fault: Any, call: Any) -> None:
    world = World(2)
    world.rpc.call("eth_blockNumber")
    right = world.rpc.call(*call)
    fault(world.transports[0])
    assert world.rpc.call(*call) == right
    assert world.clock.slept == []


@pytest.mark.parametrize("fault", FAULTS)
def test_all_at_fault__one_line_with_every_host(fault: Any) -> None:
    world = World(2)
    world.rpc.call("eth_blockNumber")
    for transport in world.transports:
        fault(transport)
    with pytest.raises(ReadError) as caught:
        world.rpc.call(*LATEST)
    said = str(caught.value)
    assert said.startswith("none of the 2 RPC endpoints answered eth_getBalance: ")
    assert "https://a.example " in said
    assert "https://b.example " in said
    assert "\n" not in said
    assert len(world.clock.slept) == 3, "four rounds, with growing pauses"
    assert world.clock.slept == sorted(world.clock.slept)


def test_fault_that_passes__is_tried_again() -> None:
    world = World(1)
    world.rpc.call("eth_blockNumber")
    world.transports[0].down()
    heal = world.clock.sleep

    def sleep(seconds: float) -> None:
        heal(seconds)
        world.transports[0].well()

    world.rpc._sleep = sleep
    assert world.rpc.call(*LATEST) == hex(100)
    assert world.clock.slept == [0.25]


def test_endpoint_that_failed__rests_longer_each_time() -> None:
    world = World(2, survey_every_s=1e9)
    world.rpc.call("eth_blockNumber")
    world.transports[0].down()
    tried = []
    for second in range(64):
        world.forget()
        world.rpc.call(*LATEST)
        if world.asked()[0]:
            tried.append(second)
        world.clock.now = 2_000.0 + second
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 8 * gaps[0]


def test_slow_endpoint__no_more_rounds_than_there_is_patience_for() -> None:
    world = World(1, patience_s=25.0)
    world.rpc.call("eth_blockNumber")
    world.transports[0].takes_s = 10.0
    world.transports[0].down()
    world.forget()
    with pytest.raises(Unanswered, match=r"https://a\.example did not answer in time"):
        world.rpc.call(*LATEST)
    assert world.asked() == [3]


def test_revert__is_the_chains_answer__nobody_else_is_asked() -> None:
    for code, data in ((3, "0x"), (-32000, "0x08c379a0"), (-32015, None), (-38014, None)):
        world = World(2)
        world.rpc.call("eth_blockNumber")
        world.forget()
        for transport in world.transports:
            transport.fault = lambda calls, code=code, data=data: [
                RpcError(m, code, "no", data) if m == "eth_call" else "0x1" for m, _ in calls
            ]
        with pytest.raises(RpcError) as caught:
            world.rpc.call("eth_call", {}, {"blockHash": block_hash(100)})
        assert caught.value.code == code
        assert world.asked() == [1, 0]


@pytest.mark.parametrize("code", [-32601, -32004, -32000, -32603])
def test_error_of_one_node__another_one_is_asked(code: int) -> None:
    world = World(2)

    def refuse(*_: object) -> None:
        raise RpcError("eth_feeHistory", code, "no")

    world.chains[0].answers["eth_feeHistory"] = refuse
    world.chains[1].answers["eth_feeHistory"] = lambda *_: {"oldestBlock": "0x1"}
    assert world.rpc.call("eth_feeHistory", "0x1", "latest", []) == {"oldestBlock": "0x1"}
    assert world.trouble() == ["", ""], "no fault of its own"


def test_error_of_every_node__is_raised_as_it_is_without_waiting() -> None:
    world = World(2)
    with pytest.raises(RpcError) as caught:
        world.rpc.call("eth_simulateV1", {}, "latest")
    assert caught.value.code == -32601
    assert world.clock.slept == []


def test_log_query_over_the_limit__is_an_answer_that_asks_for_less() -> None:
    world = World(2)

    def refuse(*_: object) -> None:
        raise RpcError("eth_getLogs", -32005, "query returned more than 10000 results")

    for chain in world.chains:
        chain.answers["eth_getLogs"] = refuse
    with pytest.raises(RpcError) as caught:
        world.rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x64"})
    assert caught.value.code == -32005
    assert world.clock.slept == []
    assert world.trouble() == ["", ""]


def test_request_too_large_everywhere__says_so_without_waiting() -> None:
    world = World(2)
    world.rpc.call("eth_blockNumber")

    def too_large(calls: Sequence[Call]) -> None:
        raise RequestTooLarge("https://a.example", "takes no request of this size", "eth_call")

    for transport in world.transports:
        transport.fault = too_large
    with pytest.raises(RequestTooLarge):
        world.rpc.call("eth_call", {}, {"blockHash": block_hash(100)})
    assert world.clock.slept == []
    for transport in world.transports:
        transport.well()
    assert world.trouble() == ["", ""]


def test_batch__first_error_is_raised__order_is_kept() -> None:
    world = World(2)
    balance = ("eth_getBalance", (OWNER, "latest"))
    assert world.rpc.batch([balance, ("eth_chainId", ())]) == [hex(100), "0x1"]
    assert world.rpc.batch([]) == []
    with pytest.raises(RpcError, match="method not found"):
        world.rpc.batch([balance, ("eth_nothing", ())])


def test_answer_to_another_question__is_a_fault() -> None:
    """A block, a transaction or a receipt that is not the one that was asked for."""
    world = World(2)
    other = world.chains[0].header(7)
    world.chains[0].answers["eth_getBlockByHash"] = lambda *_: other
    wanted = block_hash(90)
    assert world.rpc.call("eth_getBlockByHash", wanted, False)["hash"] == wanted
    world.chains[0].answers["eth_getTransactionByHash"] = lambda *_: {"hash": block_hash(1)}
    assert world.rpc.call("eth_getTransactionByHash", wanted) is None


def test_method_that_changes_the_node__is_asked_once_of_one() -> None:
    world = World(2)
    world.rpc.call("eth_blockNumber")
    world.forget()
    world.transports[0].down()
    with pytest.raises(Unanswered):
        world.rpc.call("evm_mine")
    assert world.asked() == [1, 0]


# Heads


def test_most_advanced_block__wins() -> None:
    world = World(3)
    world.chains[2].head = 102
    assert world.rpc.call("eth_blockNumber") == hex(102)
    assert world.rpc.call(*LATEST) == hex(102)


def test_node_that_falls_behind__is_skipped_until_it_catches_up() -> None:
    world = World(2)
    world.chains[1].head = 104
    assert world.rpc.call(*LATEST) == hex(104)
    assert world.trouble() == ["is 4 blocks behind", ""]
    world.chains[0].head = 104
    assert world.trouble() == ["", ""]
    world.forget()
    assert world.rpc.call(*LATEST) == hex(104)
    assert world.asked() == [1, 0]


def test_node_with_an_older_head__is_skipped() -> None:
    """Fewer than the allowed blocks behind, but by more than a minute."""
    world = World(2, max_lag_blocks=50)
    world.chains[1].head = 106
    world.rpc.call(*LATEST)
    assert world.trouble() == ["has a head 72 s older", ""]


@pytest.mark.parametrize("behind", [1, 3, 10])
def test_view_of_the_head__never_goes_back(behind: int) -> None:
    """What the bundler concludes from a nonce and a missing receipt depends on it."""
    world = World(2, survey_every_s=1e9)
    world.chains[0].head = 100 + behind
    assert world.rpc.call(*LATEST) == hex(100 + behind)
    world.transports[0].down()
    with pytest.raises(RpcUnavailable, match=r"b\.example is") as caught:
        world.rpc.call(*LATEST)
    assert "behind" in str(caught.value)
    world.chains[1].head = 100 + behind
    assert world.rpc.call(*LATEST) == hex(100 + behind)


def test_nothing_there__and_the_others_are_behind__is_said_without_waiting() -> None:
    """A pending transaction is looked up again and again: each look is one round."""
    world = World(2)
    world.chains[0].head = 101
    assert world.rpc.call("eth_getTransactionByHash", block_hash(7)) is None
    assert world.clock.slept == []


def test_head_that_nobody_shows_any_more__is_forgotten_in_the_end() -> None:
    world = World(2)
    world.chains[0].head = 10**9
    world.rpc.call("eth_blockNumber")
    world.transports[0].down()
    with pytest.raises(RpcUnavailable):
        world.rpc.call(*LATEST)
    world.clock.now += 601
    assert world.rpc.call(*LATEST) == hex(100)


def test_reorganisation__a_shorter_chain_is_believed_when_its_node_shows_it() -> None:
    world = World(2)
    assert world.rpc.call(*LATEST) == hex(100)
    for chain in world.chains:
        chain.head, chain.branch = 98, 1
    world.clock.now += 10
    assert world.rpc.call(*LATEST) == hex(98)


def test_guard__chain_and_head_in_the_same_request_ahead_of_the_question() -> None:
    world = World(2)
    world.rpc.call("eth_blockNumber")
    world.forget()
    world.rpc.call(*LATEST)
    world.rpc.call(*at(100))
    assert world.transports[0].methods() == [
        ["eth_chainId", "eth_getBlockByNumber", "eth_getBalance"],
        ["eth_getBalance"],
    ]


@pytest.mark.parametrize(("count", "requests"), [(98, [100]), (99, [2, 99])])
def test_guard__does_not_make_a_batch_too_large(count: int, requests: list[int]) -> None:
    world = World(2)
    world.rpc.call("eth_blockNumber")
    world.forget()
    balance = ("eth_getBalance", (OWNER, "latest"))
    assert world.rpc.batch([balance] * count) == [hex(100)] * count
    assert [len(calls) for calls in world.transports[0].asked] == requests
    world.chains[1].head = 101
    world.rpc.statuses()
    world.forget()
    assert world.rpc.batch([balance] * count) == [hex(101)] * count, "the guard still guards"


def test_single_endpoint__is_asked_as_it_is() -> None:
    world = World(1)
    world.rpc.call("eth_blockNumber")
    world.forget()
    world.clock.now += 1_000
    world.rpc.call(*LATEST)
    assert world.transports[0].methods() == [["eth_getBalance"]]


# One block


def test_reads_at_a_block__stay_with_endpoints_that_know_it() -> None:
    """The preferred endpoint knows the head only, the other one has shown the older block."""
    world = World(2)
    world.transports[0].down()
    world.rpc.call("eth_getBlockByNumber", hex(90), False)
    world.transports[0].well()
    world.clock.now += 60
    world.rpc.call("eth_blockNumber")
    world.forget()
    assert world.rpc.call(*at(90)) == hex(90)
    assert world.asked() == [0, 1]


def test_reads_at_a_block__of_several_threads__spread_over_the_endpoints() -> None:
    """While the first endpoint is busy with one read, the next one goes to the second."""
    world = World(2)
    world.rpc.call("eth_blockNumber")
    world.forget()
    busy, done = Event(), Event()

    def work(calls: Sequence[Call]) -> None:
        busy.set()
        assert done.wait(10)

    world.transports[0].fault = work
    first = start(partial(world.rpc.call, *at(100)))
    assert busy.wait(10)
    assert world.rpc.call(*at(100)) == hex(100)
    assert world.asked() == [1, 1]
    done.set()
    assert first.result(timeout=10) == hex(100)


def test_endpoint_that_does_not_know_the_block__is_asked_for_it_before_it_is_read() -> None:
    world = World(2)
    world.rpc.call("eth_getBlockByNumber", hex(90), False)
    world.transports[0].down()
    world.forget()
    assert world.rpc.call(*at(90)) == hex(90)
    assert world.transports[1].methods() == [["eth_getBlockByHash"], ["eth_getBalance"]]
    world.forget()
    assert world.rpc.call(*at(90)) == hex(90)
    assert world.transports[1].methods() == [["eth_getBalance"]], "once is enough"


def test_statuses__endpoint_that_hangs__holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "_GRACE_S", 0.01)
    world, done = World(2), Event()

    def hang(calls: Sequence[Call]) -> None:
        done.wait(10)

    world.transports[0].fault = hang
    assert world.rpc.call(*LATEST) == hex(100)
    assert [row.trouble for row in world.rpc.statuses()] == ["has not answered yet", ""]
    assert world.asked()[0] == 1, "it is looked at once, and not used"
    done.set()
    wait_for_threads()
    assert [row.trouble for row in world.rpc.statuses()] == ["", ""]


def test_block_that_one_node_lost__is_read_from_another() -> None:
    world = World(2)
    world.rpc.call("eth_blockNumber")
    world.chains[0].branch = 1
    assert world.rpc.call(*at(90)) == hex(90)
    assert world.trouble() == ["", ""]


def test_block_that_all_nodes_lost__is_an_error() -> None:
    world = World(2)
    with pytest.raises(RpcError, match="block not found") as caught:
        world.rpc.call(*at(90, branch=7))
    assert caught.value.code == -32001
    assert world.clock.slept == []


def test_owner_of_the_block_hiccups__is_asked_again_though_another_answers_no() -> None:
    world = World(2)
    world.chains[1].branch = 1
    world.rpc.call("eth_getBlockByNumber", hex(90), False)
    heal = world.clock.sleep

    def sleep(seconds: float) -> None:
        heal(seconds)
        world.transports[0].well()

    world.rpc._sleep = sleep
    world.transports[0].down()
    assert world.rpc.call(*at(90)) == hex(90)


def test_node_without_block_hashes__by_number_with_the_hash_before_and_after() -> None:
    world = World(1)
    world.chains[0].reads_by_hash = False
    world.rpc.call("eth_getBlockByNumber", hex(90), False)
    world.forget()
    assert world.rpc.call(*at(90)) == hex(90)
    block = ["eth_getBlockByNumber"]
    assert world.transports[0].methods() == [block, ["eth_getBalance"], block]
    assert world.transports[0].asked[1] == [("eth_getBalance", [OWNER, hex(90)])]


def test_node_that_takes_any_block_hash_for_the_head__is_asked_by_number() -> None:
    """Without the probe it would answer from another block, and nobody would notice."""
    world = World(1)
    chain = world.chains[0]
    chain.answers["eth_getBalance"] = lambda _, at: hex(
        chain.head if isinstance(at, dict) or at == "latest" else int(at, 16)
    )
    assert world.rpc.call(*at(90)) == hex(90)


@pytest.mark.parametrize("when", ["before", "after"])
def test_node_without_block_hashes__reorganisation_is_noticed(when: str) -> None:
    world = World(1)
    chain = world.chains[0]
    chain.reads_by_hash = False
    world.rpc.call("eth_getBlockByNumber", hex(90), False)

    def reorganise(calls: Sequence[Call]) -> None:
        if (calls[0][0] == "eth_getBalance") == (when == "after"):
            chain.branch = 1

    world.transports[0].fault = reorganise
    with pytest.raises(RpcError, match="not part of the chain") as caught:
        world.rpc.call(*at(90))
    assert caught.value.code == -32001


def test_node_without_block_hashes__unknown_hash_is_refused() -> None:
    world = World(1)
    world.chains[0].reads_by_hash = False
    with pytest.raises(RpcError, match="not part of the chain"):
        world.rpc.call(*at(90, branch=5))


# Sending


def test_send__once_to_every_endpoint__the_hash_comes_back() -> None:
    world = World(3)
    world.rpc.call("eth_blockNumber")
    world.forget()
    assert world.rpc.call("eth_sendRawTransaction", RAW) == hash_of(RAW)
    wait_for_threads()
    assert [t.asked for t in world.transports] == [[[("eth_sendRawTransaction", (RAW,))]]] * 3
    assert world.clock.slept == []


def test_send__lost_answer_and_refusals__may_be_out() -> None:
    """A refusal says "nobody has it" only when no endpoint was silent."""
    world = World(2)
    world.rpc.call("eth_blockNumber")
    world.transports[0].down()
    world.transports[1].says(-32000, "already known")
    with pytest.raises(Unanswered, match=r"a\.example did not answer in time"):
        world.rpc.call("eth_sendRawTransaction", RAW)
    assert world.clock.slept == []


def test_send__limit_reached__is_no_refusal_of_the_transaction() -> None:
    world = World(1)
    world.rpc.call("eth_blockNumber")
    world.transports[0].says(-32005)
    with pytest.raises(Unanswered, match="limits its answers"):
        world.rpc.call("eth_sendRawTransaction", RAW)


def test_send__refused_by_all__is_the_nodes_no() -> None:
    world = World(2)
    world.rpc.call("eth_blockNumber")
    for transport in world.transports:
        transport.says(-32000, "nonce too low")
    world.forget()
    with pytest.raises(RpcError, match="nonce too low"):
        world.rpc.call("eth_sendRawTransaction", RAW)
    assert world.asked() == [1, 1]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("answer", ["0x" + "11" * 32, None, 7])
def test_send__another_hash__is_as_good_as_no_answer(count: int, answer: object) -> None:
    world = World(count)
    world.rpc.call("eth_blockNumber")
    for chain in world.chains:
        chain.answers["eth_sendRawTransaction"] = lambda _: answer
    with pytest.raises(Unanswered, match="what is not its hash"):
        world.rpc.call("eth_sendRawTransaction", RAW)


def test_send__lagging_and_resting_endpoints_are_left_out() -> None:
    world = World(3)
    world.chains[1].head = 90
    world.rpc.call("eth_blockNumber")
    world.transports[2].down()
    world.transports[0].down()
    with pytest.raises(RpcUnavailable):
        world.rpc.call(*LATEST)
    world.transports[0].well()
    world.clock.now += 100
    world.rpc.call(*LATEST)
    world.forget()
    world.rpc.call("eth_sendRawTransaction", RAW)
    assert world.asked() == [1, 0, 0]


def test_send__nobody_was_ever_reached__nothing_is_sent() -> None:
    world = World(2)
    for transport in world.transports:
        transport.down()
    with pytest.raises(RpcUnavailable, match="none of the 2"):
        world.rpc.call("eth_sendRawTransaction", RAW)
    assert all("eth_sendRawTransaction" not in m for t in world.transports for m in t.methods())


# Limits and what is shown


def test_rate_limit__the_other_endpoint_first_then_a_pause() -> None:
    world = World(2, rate_per_s=4, survey_every_s=1e9)
    for transport in world.transports:
        transport.takes_s = 0.0
    world.rpc.call("eth_chainId")  # five of eight and four of eight are spent
    world.forget()
    for _ in range(7):
        world.rpc.call(*at(100))
    assert sum(world.asked()) == 7
    assert world.clock.slept == []
    world.rpc.call(*at(100))
    assert world.clock.slept == [0.25]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "192.168.1.7"])
def test_rate_limit__not_for_ones_own_node(host: str) -> None:
    clock = Clock()
    transport = FakeTransport(Chain(), f"http://{host}:8545", clock, takes_s=0.0)
    rpc = Endpoints([transport], CHAIN_ID, Limits(rate_per_s=1), clock=clock, sleep=clock.sleep)
    for _ in range(50):
        rpc.call("eth_blockNumber")
    assert clock.slept == []


def test_statuses__host_head_and_trouble() -> None:
    world = World(3)
    world.chains[1].head = 103
    world.chains[2].chain_id = 5
    rows = world.rpc.statuses()
    assert [row.name for row in rows] == [f"https://{n}.example" for n in "abc"]
    assert [row.head for row in rows] == [100, 103, None]
    assert [row.trouble for row in rows] == ["", "", "serves chain 5, chain 1 is wanted"]


def test_speed__by_the_mean_latency() -> None:
    for takes_s, speed in ((0.1, "fast"), (0.5, "fair"), (2.0, "slow")):
        world = World(1)
        world.transports[0].takes_s = takes_s
        assert world.rpc.statuses()[0].speed == speed


def test_endpoints_of_one_host__are_told_apart() -> None:
    clock = Clock()
    transports = [FakeTransport(Chain(), "https://a.example", clock) for _ in range(2)]
    rpc = Endpoints(transports, CHAIN_ID, clock=clock, sleep=clock.sleep)
    assert [row.name for row in rpc.statuses()] == ["https://a.example", "https://a.example #2"]


def test_repr_and_errors__hold_no_key() -> None:
    urls = [
        "https://a.example/v3/s3cr3t",
        "https://user:s3cr3t@b.example",
        "https://a.example/v3/s3cr3t",
    ]
    rpc = Endpoints.at(urls, CHAIN_ID)
    assert repr(rpc) == "Endpoints(https://a.example, https://b.example)"


def test_no_endpoint__is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no RPC endpoint"):
        Endpoints([], CHAIN_ID)
