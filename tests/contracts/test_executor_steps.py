"""Every kind of step and every floor: what it does, and what it refuses, in both contracts' mode.

Each test runs twice: as a batch of the executor, paid by Alice's allowances, and as one of her own
account that delegates to the wallet executor (EIP-7702), paid from its balance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ape
import pytest
from executor_world import FOREVER, UNIT, World, official, quote, revert_reason

from rebalancer.amm.liquidity import apply_burn, apply_mint
from rebalancer.bundler.executor import WALLET_EXECUTOR, deployment_call
from rebalancer.bundler.steps import (
    EXECUTE_SIGNATURE,
    AddLiquidity,
    Batch,
    Check,
    RemoveLiquidity,
    Step,
    Swap,
    Unwrap,
    Watch,
    Wrap,
    encode_batch,
    entries_of,
    terms_of,
)
from rebalancer.evm.abi import encode_call, from_hex, to_hex
from rebalancer.evm.rpc import RpcError
from rebalancer.model import PairState, Token

ANY = 2**64 - 1
ETHER = 10**18
NET_FLOOR = "executor: net change below its floor"


class Caller:
    """Alice, by one of the two contracts."""

    def __init__(self, world: World, as_wallet: bool) -> None:
        self.world, self.as_wallet = world, as_wallet
        self.address = str(world.alice.address)
        self.to = self.address if as_wallet else str(world.executor.address)
        if as_wallet:
            to, data = deployment_call(WALLET_EXECUTOR)
            if not ape.chain.provider.get_code(WALLET_EXECUTOR.address):
                world.deployer.transfer(to, 0, data=data)
            designator = "0xef0100" + WALLET_EXECUTOR.address[2:].lower()
            world.rpc.call("anvil_setCode", self.address, designator)

    def request(
        self, *steps: Step, watched: tuple[Watch, ...] = (), **terms: int
    ) -> dict[str, str]:
        batch = Batch(
            terms.get("deadline_ts", FOREVER), terms.get("max_base_fee_wei", ANY), watched, steps
        )
        data = to_hex(encode_batch(batch))
        return {
            "from": self.address,
            "to": self.to,
            "data": data,
            "value": hex(terms.get("value", 0)),
        }

    def refusal(self, *steps: Step, **terms: Any) -> str:
        return refusal(self.world, self.request(*steps, **terms))

    def does(self, *steps: Step, **terms: Any) -> None:
        transact(self.world, self.request(*steps, **terms))


def refusal(world: World, request: dict[str, str]) -> str:
    try:
        world.rpc.call("eth_call", request, "latest")
    except RpcError as error:
        return revert_reason(error)
    raise AssertionError("it would not revert")


def transact(world: World, request: dict[str, str]) -> dict[str, Any]:
    """Send it, and make sure that it succeeds; the price of gas is nothing, to compare ether."""
    tx_hash = world.rpc.call("eth_sendTransaction", request | {"gas": hex(3_000_000)})
    receipt = None
    while receipt is None:
        receipt = world.rpc.call("eth_getTransactionReceipt", tx_hash)
    assert receipt["status"] == "0x1"
    return dict(receipt)


@pytest.fixture(params=["executor", "wallet"])
def caller(world: World, request: pytest.FixtureRequest) -> Caller:
    return Caller(world, request.param == "wallet")


def swap(world: World, i: int, j: int, amount_in: int | None, least: int = 1, **more: Any) -> Swap:
    a, b = world.tokens[i], world.tokens[j]
    pool = world.pools[min(i, j), max(i, j)]
    return Swap(pool.address, str(a.address), str(b.address), 3_000, amount_in, least, **more)


def state(world: World, i: int, j: int) -> PairState:
    """The pair as the package's arithmetic sees it."""
    pool = world.pools[i, j].contract
    token0, token1 = (Token(str(token), "T", 18) for token in (pool.token0(), pool.token1()))
    reserve0, reserve1, _ = pool.getReserves()
    supply = pool.totalSupply()
    return PairState(
        str(pool.address), "v2", token0, token1, 3_000, reserve0, reserve1, supply, 0, False
    )


def held(world: World, *tokens: Any) -> list[int]:
    return [int(token.balanceOf(world.alice)) for token in tokens]


# Floors.


def test_watch__exactly_the_gain__passes_and_one_more_reverts(world: World, caller: Caller) -> None:
    bought = world.pools[0, 1].quote(world.tokens[0], UNIT)
    token = str(world.tokens[1].address)
    step = swap(world, 0, 1, UNIT)

    assert caller.refusal(step, watched=(Watch(token, bought + 1),)) == NET_FLOOR
    caller.does(step, watched=(Watch(token, bought),))


def test_watch__exactly_the_loss__passes_and_one_less_reverts(world: World, caller: Caller) -> None:
    token = str(world.tokens[0].address)
    steps = swap(world, 0, 1, UNIT), swap(world, 0, 2, 2 * UNIT)

    assert caller.refusal(*steps, watched=(Watch(token, 0, 3 * UNIT - 1),)) == NET_FLOOR
    caller.does(*steps, watched=(Watch(token, 0, 3 * UNIT),))


def test_watch__sixteen_tokens__are_all_watched(world: World, caller: Caller) -> None:
    others = [world.token() for _ in range(15)]
    watched = tuple(Watch(str(token.address)) for token in others)
    bought = world.pools[0, 1].quote(world.tokens[0], UNIT)
    last = str(world.tokens[1].address)
    step = swap(world, 0, 1, UNIT)

    assert caller.refusal(step, watched=(*watched, Watch(last, bought + 1))) == NET_FLOOR
    caller.does(step, watched=(*watched, Watch(last, bought)))


def test_watch__token_that_takes_a_fee_when_bought__is_found(world: World, caller: Caller) -> None:
    t0, token = world.tokens[0], world.mock("FeeOnTransferToken")
    pool = world.pool(t0, token, 10**24, 10**24)
    paid = pool.quote(t0, UNIT)
    step = Swap(pool.address, str(t0.address), str(token.address), 3_000, UNIT, paid)

    assert caller.refusal(step, watched=(Watch(str(token.address), paid),)) == NET_FLOOR
    caller.does(step, watched=(Watch(str(token.address), paid * 99 // 100),))


def test_check__balance_at_the_floor__passes_and_one_below_reverts(
    world: World, caller: Caller
) -> None:
    token = world.tokens[0]
    left = token.balanceOf(world.alice) - UNIT
    step = swap(world, 0, 1, UNIT)

    reason = caller.refusal(step, Check(str(token.address), left + 1))
    assert reason == "executor: balance below its floor"
    caller.does(step, Check(str(token.address), left))


def test_base_fee__at_the_ceiling__passes_and_above_reverts(world: World, caller: Caller) -> None:
    world.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    world.rpc.call("anvil_mine", "0x1")
    head = world.rpc.call("eth_getBlockByNumber", "latest", False)
    base_fee = int(head["baseFeePerGas"], 16)
    step = swap(world, 0, 1, UNIT)

    # A call runs on the head, with its base fee.
    assert base_fee > 0
    world.rpc.call("eth_call", caller.request(step, max_base_fee_wei=base_fee), "latest")
    reason = caller.refusal(step, max_base_fee_wei=base_fee - 1)
    assert reason == "executor: base fee is too high"


def test_deadline__past__reverts(world: World, caller: Caller) -> None:
    now = ape.chain.blocks.head.timestamp
    reason = caller.refusal(swap(world, 0, 1, UNIT), deadline_ts=now - 1)
    assert reason == "executor: deadline has passed"


# Swaps.


def test_gained__everything_that_earlier_legs_brought__is_sold(
    world: World, caller: Caller
) -> None:
    t0, t1, t2 = world.tokens[:3]
    before = held(world, t0, t1, t2)
    reserve_in, reserve_out = world.pools[0, 1].reserves(t0)
    both = reserve_out - quote_after(reserve_in, reserve_out, UNIT, 2)
    steps = swap(world, 0, 1, UNIT), swap(world, 0, 1, UNIT), swap(world, 1, 2, None)

    caller.does(*steps, watched=(Watch(str(t1.address)),))

    assert held(world, t0, t1) == [before[0] - 2 * UNIT, before[1]]
    assert world.pools[1, 2].reserves(t1)[0] == 10**24 + both  # all that they brought went in


def quote_after(reserve_in: int, reserve_out: int, amount_in: int, times: int) -> int:
    """The reserve of what is bought, after so many equal swaps."""
    for _ in range(times):
        reserve_out -= quote(amount_in, reserve_in, reserve_out)
        reserve_in += amount_in
    return reserve_out


def test_gained__nothing__reverts(world: World, caller: Caller) -> None:
    token = str(world.tokens[1].address)
    reason = caller.refusal(swap(world, 1, 2, None, 0), watched=(Watch(token),))
    assert reason == "UniswapV2: INSUFFICIENT_OUTPUT_AMOUNT"


def test_gained__of_a_token_that_was_spent_instead__reverts(world: World, caller: Caller) -> None:
    token = str(world.tokens[1].address)
    steps = swap(world, 1, 2, UNIT), swap(world, 1, 2, None)
    assert caller.refusal(*steps, watched=(Watch(token, 0, UNIT),)) == ""


def test_measured__token_that_takes_a_fee_when_sold__is_sold(world: World, caller: Caller) -> None:
    t0, token = world.tokens[0], world.mock("FeeOnTransferToken")
    pool = world.pool(token, t0, 10**24, 10**24)
    expected = pool.quote(token, UNIT * 99 // 100)
    before = t0.balanceOf(world.alice)
    plain = Swap(pool.address, str(token.address), str(t0.address), 3_000, UNIT, expected)

    assert caller.refusal(plain) == "UniswapV2: K"
    caller.does(
        Swap(
            pool.address, str(token.address), str(t0.address), 3_000, UNIT, expected, measured=True
        )
    )

    assert t0.balanceOf(world.alice) == before + expected


def test_measured__token_that_takes_a_fee_on_the_way_through__is_passed_on(
    world: World, caller: Caller
) -> None:
    t0, t1, token = world.tokens[0], world.tokens[1], world.mock("FeeOnTransferToken")
    first, second = world.pool(t0, token, 10**24, 10**24), world.pool(token, t1, 10**24, 10**24)
    arrives = first.quote(t0, UNIT) * 99 // 100
    expected = second.quote(token, arrives)
    before = t1.balanceOf(world.alice)

    caller.does(
        Swap(first.address, str(t0.address), str(token.address), 3_000, UNIT, 1, forward=True),
        Swap(
            second.address,
            str(token.address),
            str(t1.address),
            3_000,
            None,
            expected,
            forwarded=True,
            measured=True,
        ),
    )

    assert t1.balanceOf(world.alice) == before + expected


# Liquidity.


@pytest.mark.parametrize("scarce", [0, 1])
def test_add__either_token_scarce__adds_at_the_ratio_as_the_mirror_says(
    world: World, caller: Caller, scarce: int
) -> None:
    pair = state(world, 0, 1)
    most = [UNIT, UNIT]
    most[1 - scarce] = 100 * UNIT
    reserves = (pair.reserve0, pair.reserve1)
    other = most[scarce] * reserves[1 - scarce] // reserves[scarce]
    amounts = (most[scarce], other) if scarce == 0 else (other, most[scarce])
    _, shares = apply_mint(pair, *amounts)
    lp = world.pools[0, 1].contract
    tokens = [
        ape.Contract(token.address, abi=world.tokens[0].contract_type.abi)
        for token in (pair.token0, pair.token1)
    ]
    before = held(world, *tokens)
    step = AddLiquidity(pair.address, pair.token0.address, pair.token1.address, *most, shares)

    one_more = AddLiquidity(
        pair.address, pair.token0.address, pair.token1.address, *most, shares + 1
    )
    assert caller.refusal(one_more) == "executor: shares below minimum"
    caller.does(step, watched=(Watch(pair.address, shares),))

    assert lp.balanceOf(world.alice) == shares
    assert held(world, *tokens) == [before[0] - amounts[0], before[1] - amounts[1]]


def test_add__what_swaps_brought__goes_into_the_pool(world: World, caller: Caller) -> None:
    pair = state(world, 1, 2)
    t0, t1, t2 = world.tokens[:3]
    before = held(world, t1, t2)
    steps = (
        swap(world, 0, 1, UNIT),
        swap(world, 0, 2, UNIT),
        AddLiquidity(pair.address, pair.token0.address, pair.token1.address, None, None, 1),
    )
    watched = (Watch(str(t1.address)), Watch(str(t2.address)), Watch(pair.address, 1))

    caller.does(*steps, watched=watched)

    after = held(world, t1, t2)
    assert world.pools[1, 2].contract.balanceOf(world.alice) > 0
    # One of them is all gone, the rest of the other is left; nothing that was there before is.
    gains = [new - old for new, old in zip(after, before, strict=True)]
    assert min(gains) == 0 < max(gains)
    assert t0.balanceOf(world.executor) == 0


def test_add__to_an_empty_pair__pays_both_whole(world: World, caller: Caller) -> None:
    a, b = world.tokens[3], world.tokens[4]
    world.factory.createPair(a, b, sender=world.deployer)
    lp = official("UniswapV2Pair").at(world.factory.getPair(a, b))
    token0, token1 = lp.token0(), lp.token1()

    caller.does(AddLiquidity(str(lp.address), str(token0), str(token1), 4 * UNIT, 9 * UNIT, 1))

    assert lp.balanceOf(world.alice) == 6 * UNIT - 1_000
    assert lp.getReserves()[:2] == (4 * UNIT, 9 * UNIT)


def test_remove__shares__pay_what_the_mirror_says(world: World, caller: Caller) -> None:
    lp = world.pools[0, 1].contract
    lp.transfer(world.alice, 10 * UNIT, sender=world.deployer)
    lp.approve(world.executor, 10 * UNIT, sender=world.alice)
    pair = state(world, 0, 1)
    _, amount0, amount1 = apply_burn(pair, 3 * UNIT)

    for least in ((amount0 + 1, amount1), (amount0, amount1 + 1)):
        reason = caller.refusal(RemoveLiquidity(pair.address, 3 * UNIT, *least))
        assert reason == "executor: redeemed below minimum"
    watched = (Watch(pair.token0.address, amount0), Watch(pair.token1.address, amount1))
    caller.does(RemoveLiquidity(pair.address, 3 * UNIT, amount0, amount1), watched=watched)

    assert lp.balanceOf(world.alice) == 7 * UNIT


def test_remove__what_was_added_in_the_same_batch__comes_back(world: World, caller: Caller) -> None:
    pair = state(world, 0, 1)
    lp = world.pools[0, 1].contract
    lp.approve(world.executor, 2**256 - 1, sender=world.alice)
    add = AddLiquidity(pair.address, pair.token0.address, pair.token1.address, UNIT, 2**125, 1)

    caller.does(add, RemoveLiquidity(pair.address, None, 1, 1), watched=(Watch(pair.address),))

    assert lp.balanceOf(world.alice) == 0


# Ether.


@pytest.fixture
def weth(world: World) -> Any:
    contract = world.deployer.deploy(official("WETH9", "v2-periphery"))
    contract.deposit(value=100 * ETHER, sender=world.deployer)
    contract.approve(world.executor, 2**256 - 1, sender=world.alice)
    return contract


def test_wrap__gives_the_caller_wrapped_ether(world: World, caller: Caller, weth: Any) -> None:
    value = 0 if caller.as_wallet else ETHER
    before = world.alice.balance

    caller.does(
        Wrap(str(weth.address), ETHER), value=value, watched=(Watch(str(weth.address), ETHER),)
    )

    assert weth.balanceOf(world.alice) == ETHER
    assert before - ETHER - 10**16 < world.alice.balance <= before - ETHER  # and gas


def test_wrap__forwarded__is_swapped_at_once(world: World, caller: Caller, weth: Any) -> None:
    pool = world.pool(weth, world.tokens[0], 50 * ETHER, 10**24)
    expected = pool.quote(weth, ETHER)
    before = world.tokens[0].balanceOf(world.alice)
    token = str(world.tokens[0].address)

    caller.does(
        Wrap(str(weth.address), ETHER, forward=True),
        Swap(pool.address, str(weth.address), token, 3_000, None, expected, forwarded=True),
        value=0 if caller.as_wallet else ETHER,
    )

    assert world.tokens[0].balanceOf(world.alice) == before + expected
    assert weth.balanceOf(world.alice) == 0


def test_unwrap__gives_the_caller_ether(world: World, caller: Caller, weth: Any) -> None:
    weth.transfer(world.alice, 5 * ETHER, sender=world.deployer)
    before = world.alice.balance

    caller.does(Unwrap(str(weth.address), 5 * ETHER))

    assert weth.balanceOf(world.alice) == 0
    assert before + 4 * ETHER < world.alice.balance < before + 5 * ETHER


def test_unwrap__what_a_swap_brought__is_ether(world: World, caller: Caller, weth: Any) -> None:
    pool = world.pool(weth, world.tokens[0], 50 * ETHER, 50 * ETHER)
    brought = pool.quote(world.tokens[0], ETHER)
    before = world.alice.balance
    token = str(world.tokens[0].address)

    caller.does(
        Swap(pool.address, token, str(weth.address), 3_000, ETHER, brought),
        Unwrap(str(weth.address), None),
        watched=(Watch(str(weth.address)),),
    )

    assert weth.balanceOf(world.alice) == 0
    assert before + brought - 10**16 < world.alice.balance < before + brought


def test_unwrap__more_than_there_is__reverts(world: World, caller: Caller, weth: Any) -> None:
    assert caller.refusal(Unwrap(str(weth.address), 1)) == ""


# What only the executor refuses: ether that could wait in it.


def test_wrap__after_another_step__reverts(world: World, weth: Any) -> None:
    caller = Caller(world, as_wallet=False)
    steps = swap(world, 0, 1, UNIT), Wrap(str(weth.address), ETHER)

    assert caller.refusal(*steps, value=ETHER) == "executor: ether is not wrapped"
    assert caller.refusal(*steps) == "executor: wrapping comes first"


@pytest.mark.parametrize("value", [ETHER - 1, ETHER + 1])
def test_wrap__other_than_what_was_sent__reverts(world: World, weth: Any, value: int) -> None:
    caller = Caller(world, as_wallet=False)
    reason = caller.refusal(Wrap(str(weth.address), ETHER), value=value)
    assert reason == "executor: ether is not wrapped"


def test_wrap__twice__cannot_spend_the_ether_of_another_twice(world: World, weth: Any) -> None:
    caller = Caller(world, as_wallet=False)
    wrap = Wrap(str(weth.address), ETHER)
    assert caller.refusal(wrap, wrap, value=ETHER) == "executor: wrapping comes first"


@pytest.mark.parametrize("name", ["UsdtLikeToken", "ReentrantToken"])
def test_unwrap__of_what_is_no_wrapped_ether__reverts(world: World, name: str) -> None:
    caller = Caller(world, as_wallet=False)
    token = world.mock(name)
    # Ether that was forced upon the executor is not to be had either.
    ape.chain.provider.set_balance(world.executor.address, ETHER)

    assert caller.refusal(Unwrap(str(token.address), ETHER)) == ""

    ape.chain.provider.set_balance(world.executor.address, 0)


# Encodings that the package does not make.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda what: what | 7 << 200, "executor: unknown step"),
        (lambda what: what | 1 << 255, "executor: unknown step"),
        (lambda what: what | 1 << 193, ""),  # forwards to a step that is not there
    ],
)
def test_entry__that_means_nothing__reverts(
    world: World, caller: Caller, change: Callable[[int], int], reason: str
) -> None:
    batch = Batch(FOREVER, ANY, (), (swap(world, 0, 1, UNIT),))
    *others, (what, amounts) = entries_of(batch)
    data = to_hex(
        encode_call(EXECUTE_SIGNATURE, terms_of(batch), [*others, (change(what), amounts)])
    )

    assert refusal(world, caller.request(swap(world, 0, 1, UNIT)) | {"data": data}) == reason


def test_forward__to_a_step_that_is_no_swap__reverts(world: World, caller: Caller) -> None:
    batch = Batch(
        FOREVER, ANY, (), (swap(world, 0, 1, UNIT), Check(str(world.tokens[2].address), 0))
    )
    entries = entries_of(batch)
    what, amounts = entries[1]
    entries[1] = (what | 1 << 193, amounts)
    data = to_hex(encode_call(EXECUTE_SIGNATURE, terms_of(batch), entries))

    reason = refusal(world, caller.request(*batch.steps) | {"data": data})
    assert reason == "executor: forwarded to no swap"


def test_batch__returns_what_the_last_swap_was_paid(world: World, caller: Caller) -> None:
    expected = world.pools[0, 1].quote(world.tokens[0], UNIT)
    answer = world.rpc.call("eth_call", caller.request(swap(world, 0, 1, UNIT)), "latest")
    assert int.from_bytes(from_hex(answer)) == expected
