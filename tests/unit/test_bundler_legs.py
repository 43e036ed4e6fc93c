"""Legs of every kind: as steps, as floors, and back from events, also from hostile ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bundler_fakes import USDC, USDC_WETH, WALLET, WETH, FakeRpc, leg, plan_of
from hypothesis import given
from hypothesis import strategies as st
from legs_made import (
    ADD,
    DAI,
    DAI_USDC,
    ETH,
    LEGS,
    NET,
    NOBODY,
    REMOVE,
    SWAP_LEG,
    UNIT,
    UNWRAP,
    WRAP,
    log,
    mixed,
    mixed_logs,
    moved,
)

from rebalancer.bundler.checks import check_ether
from rebalancer.bundler.compare import check_fills, check_net, leg_name
from rebalancer.bundler.execution import execute_call
from rebalancer.bundler.executor import (
    EXECUTOR_ADDRESS,
    encode_execute,
    ether_of,
    gained_amounts,
    net_floors,
)
from rebalancer.bundler.fills import BURN, DEPOSIT, MINT, SWAP, WITHDRAWAL, decode_fills
from rebalancer.bundler.head import Head
from rebalancer.bundler.modes import as_many_as_fit
from rebalancer.bundler.probes import ETHER_PROBE, balance_requests, overrides, touched_tokens
from rebalancer.bundler.steps import (
    AddLiquidity,
    Batch,
    Permit,
    RemoveLiquidity,
    Swap,
    Unwrap,
    Watch,
    Wrap,
    encode_batch,
)
from rebalancer.errors import ExecutionError, InsufficientGas, PlanError, SimulationMismatch
from rebalancer.model import (
    AddLeg,
    Amount,
    Fill,
    Leg,
    RemoveLeg,
    SwapLeg,
    UnwrapLeg,
    WrapLeg,
    forwards,
)

STRANGER = "0x" + "77" * 20
PERMIT = Permit(USDC_WETH, 5, 27, 1, 2)
PLANNED = (
    Fill(0, WETH.address, ETH, WETH, UNIT, UNIT),
    Fill(
        1,
        USDC_WETH,
        REMOVE.share,
        USDC,
        REMOVE.shares,
        10**9,
        more_out=Amount(WETH, UNIT // 2),
    ),
    Fill(2, DAI_USDC, USDC, DAI, 4 * 10**8, 400 * UNIT),
    Fill(3, DAI_USDC, DAI, ADD.share, 400 * UNIT, 3 * UNIT, more_in=Amount(USDC, 4 * 10**8)),
    Fill(4, WETH.address, WETH, ETH, UNIT // 4, UNIT // 4),
)
WATCHED = (
    Watch(WETH.address, UNIT + UNIT * 2 // 5 - UNIT // 4, 0),
    Watch(USDC.address, 99 * 10**7 - 8 * 10**8, 0),
    Watch(DAI.address, 0, 4 * UNIT),
    Watch(DAI_USDC, 29 * 10**17, 0),
)
STEPS: Any = (
    Wrap(WETH.address, UNIT),
    RemoveLiquidity(USDC_WETH, REMOVE.shares, 99 * 10**7, UNIT * 2 // 5),
    Swap(DAI_USDC, USDC.address, DAI.address, 3_000, 4 * 10**8, 396 * UNIT),
    AddLiquidity(DAI_USDC, DAI.address, USDC.address, 400 * UNIT, 4 * 10**8, 29 * 10**17),
    Unwrap(WETH.address, UNIT // 4),
)


# As steps


def test_encode__every_kind__is_the_steps_under_the_floors() -> None:
    assert net_floors(LEGS) == WATCHED
    assert encode_execute(LEGS, 9, max_base_fee_wei=7) == encode_batch(Batch(9, 7, WATCHED, STEPS))


def test_encode__permits__stand_behind_the_ether_that_must_be_wrapped_first() -> None:
    wrap, *rest = STEPS
    whole = Batch(9, 7, WATCHED, (wrap, PERMIT, *rest))
    assert encode_execute(LEGS, 9, max_base_fee_wei=7, permits=[PERMIT]) == encode_batch(whole)

    into = leg(USDC_WETH, WETH, USDC, UNIT, 3 * 10**9, chained=True)
    legs: list[Leg] = [WRAP, into, leg(DAI_USDC, USDC, DAI, 5, 5)]
    behind = Batch(
        9,
        7,
        net_floors(legs),
        (
            Wrap(WETH.address, UNIT, forward=True),
            Swap(USDC_WETH, WETH.address, USDC.address, 3_000, UNIT, 2_970_000_000, forwarded=True),
            PERMIT,
            Swap(DAI_USDC, USDC.address, DAI.address, 3_000, 5, 4),
        ),
    )
    assert encode_execute(legs, 9, max_base_fee_wei=7, permits=[PERMIT]) == encode_batch(behind)


def test_permits__more_than_a_batch_takes__are_left_to_approvals() -> None:
    plan = plan_of(*[leg(USDC_WETH, USDC, WETH, 5, 7)] * 30)
    permits = tuple(replace(PERMIT, amount=number) for number in range(20))
    fitting = as_many_as_fit(plan, EXECUTOR_ADDRESS, permits)
    assert 0 < len(fitting) < len(permits)
    assert fitting == permits[: len(fitting)]
    with pytest.raises(PlanError, match="entries"):
        execute_call(plan, EXECUTOR_ADDRESS, permits[: len(fitting) + 1])
    assert as_many_as_fit(plan, EXECUTOR_ADDRESS, permits[:2]) == permits[:2]
    impossible = plan_of(replace(SWAP_LEG, amount_in=0))
    assert as_many_as_fit(impossible, EXECUTOR_ADDRESS, permits) == (), "it says so without them"


def test_encode__as_the_wallet__later_legs_take_what_the_earlier_ones_brought() -> None:
    """All DAI that the swap brings is added; of the USDC some stays, so its amount is exact."""
    assert gained_amounts(LEGS) == {(3, DAI.address)}
    floors = net_floors(LEGS, as_wallet=True)
    assert dict(zip(floors, WATCHED, strict=True)).popitem() == (WATCHED[3], WATCHED[3])
    assert floors[2] == Watch(DAI.address, 0, 0), "what is gained is spent, no more and no less"
    steps = (*STEPS[:3], replace(STEPS[3], most0=None), STEPS[4])
    assert encode_execute(LEGS, 9, as_wallet=True, max_base_fee_wei=7) == encode_batch(
        Batch(9, 7, floors, steps)
    )


@pytest.mark.parametrize(
    ("added", "left", "gained"),
    [(4 * 10**8, 0, True), (4 * 10**8, 4 * 10**5, True), (4 * 10**8, 4 * 10**5 + 1, False)],
)
def test_an_addition_may_leave_dust_of_token1_alone(added: int, left: int, gained: bool) -> None:
    brought = replace(REMOVE, amount0=added + left)
    both = replace(ADD, amount1=added)
    assert ((1, USDC.address) in gained_amounts([brought, both])) is gained
    sold = leg(DAI_USDC, USDC, DAI, added, 1)
    assert ((1, USDC.address) in gained_amounts([brought, sold])) is (left == 0)


def test_own_money_is_never_taken_for_what_the_batch_brought() -> None:
    assert gained_amounts([leg(USDC_WETH, USDC, WETH, 5, 7), leg(USDC_WETH, WETH, USDC, 8, 3)]) == (
        frozenset()
    )
    spent_before: list[Leg] = [
        leg(DAI_USDC, USDC, DAI, 5, 7),
        leg(USDC_WETH, WETH, USDC, 1, 9),
        leg(DAI_USDC, USDC, DAI, 9, 8),
    ]
    assert gained_amounts(spent_before) == frozenset(), "only 4 were gained"


def test_unguarded__watches_without_a_floor_what_is_gained() -> None:
    batch = Batch(
        9,
        7,
        (Watch(DAI.address, 0, 2**128 - 1),),
        (*STEPS[:3], replace(STEPS[3], most0=None), STEPS[4]),
    )
    bare = encode_execute(LEGS, 9, max_base_fee_wei=7, guarded=False, as_wallet=True)
    assert bare == encode_batch(batch)


@pytest.mark.parametrize(
    ("legs", "reason"),
    [
        ([SWAP_LEG, WRAP], "leg 1 wraps ether, which by allowance only the first leg can"),
        ([replace(WRAP, amount=0)], "leg 0 has no amount in"),
        ([replace(REMOVE, shares=0)], "leg 0 has no amount in"),
        ([replace(ADD, amount1=0)], "leg 0 has no amount in"),
        ([replace(UNWRAP, amount=0)], "leg 0 has no amount in"),
        ([replace(ADD, token0=USDC, token1=DAI)], "leg 0 names its tokens in another order"),
        ([replace(REMOVE, token0=WETH, token1=USDC)], "leg 0 names its tokens in another order"),
        ([REMOVE, replace(SWAP_LEG, chained=True)], "leg 1 does not spend what leg 0 pays"),
        ([WRAP, replace(SWAP_LEG, chained=True)], "leg 1 does not spend what leg 0 pays"),
        (
            [UNWRAP, leg(USDC_WETH, ETH, USDC, UNIT // 4, 5, chained=True)],
            "leg 1 does not spend what leg 0 pays",
        ),
    ],
)
def test_encode__what_the_contract_would_read_otherwise__is_refused(
    legs: list[Leg], reason: str
) -> None:
    with pytest.raises(PlanError, match=reason):
        encode_execute(legs, 1)


def test_execute_call__sends_the_ether_along_unless_the_wallet_runs_it_itself() -> None:
    by_allowance, delegated = execute_call(mixed()), execute_call(mixed(), WALLET.lower())
    assert (by_allowance.value_wei, delegated.value_wei) == (UNIT, 0)
    assert by_allowance.as_request(WALLET)["value"] == hex(UNIT)
    assert "value" not in delegated.as_request(WALLET)
    assert by_allowance.label == "execute 5 legs"
    assert ether_of(LEGS) == UNIT


def test_sold__is_all_that_must_be_allowed() -> None:
    assert mixed().sold() == (
        Amount(REMOVE.share, REMOVE.shares),
        Amount(USDC, 8 * 10**8),
        Amount(DAI, 400 * UNIT),
        Amount(WETH, UNIT // 4),
    )


SIZES = st.integers(1, 10)


@st.composite
def plans(draw: st.DrawFn) -> list[Leg]:
    """Legs of a few units of a few tokens, so that what is brought is often just what is spent."""
    legs: list[Leg] = []
    for _ in range(draw(st.integers(1, 6))):
        a, b = draw(st.permutations([USDC, WETH, DAI]))[:2]
        low, high = sorted((a, b), key=lambda token: int(token.address, 16))
        n, m, k = draw(SIZES), draw(SIZES), draw(SIZES)
        place = ("0x" + "42" * 20, "uniswap_v2", low, high)
        kind = draw(st.sampled_from(["swap", "add", "remove", "wrap", "unwrap", "chained"]))
        if kind == "add":
            legs.append(AddLeg(*place, n, m, k, draw(st.integers(0, k))))
        elif kind == "remove":
            legs.append(RemoveLeg(*place, k, n, m, draw(st.integers(0, n)), 0))
        elif kind == "wrap":
            legs.append(WrapLeg(ETH, WETH, n))
        elif kind == "unwrap":
            legs.append(UnwrapLeg(ETH, WETH, n))
        elif kind == "chained" and legs and isinstance(legs[-1], SwapLeg | WrapLeg):
            (brought,) = legs[-1].pays
            other = USDC if brought.token == WETH else WETH
            legs.append(leg("0x" + "43" * 20, brought.token, other, brought.raw, m, chained=True))
        else:
            legs.append(leg("0x" + "43" * 20, a, b, n, m))
    return legs


@given(plans(), st.booleans())
def test_floors__a_plan_that_comes_true_is_never_below_them(
    legs: list[Leg], as_wallet: bool
) -> None:
    net: dict[str, int] = {}
    for index, one in enumerate(legs):
        for taken in one.takes:
            net[taken.token.address] = net.get(taken.token.address, 0) - taken.raw
        for paid in () if forwards(legs, index) else one.pays:
            net[paid.token.address] = net.get(paid.token.address, 0) + paid.raw
    floors = net_floors(legs, as_wallet=as_wallet)
    for watch in floors:
        assert net[watch.token] + watch.most_loss >= watch.least_gain, watch
    paid_to = {
        paid.token.address
        for index, one in enumerate(legs)
        if not forwards(legs, index)
        for paid in one.pays
        if paid.token != ETH
    }
    assert {watch.token for watch in floors} == paid_to, "whatever is paid is watched"


# Back from events


@pytest.mark.parametrize("executor", [EXECUTOR_ADDRESS, WALLET], ids=["executor", "wallet"])
def test_fills__of_every_kind__are_exact(executor: str) -> None:
    assert decode_fills(mixed(), mixed_logs(executor), executor) == PLANNED


def test_fills__what_hostile_tokens_say__is_passed_over() -> None:
    """Their own look-alikes, steps of others, and steps through the executor for others."""
    weth, me = WETH.address, EXECUTOR_ADDRESS
    noise = [
        log(DAI.address, MINT, me, words=(1, 2)),
        log(STRANGER, BURN, me, WALLET, words=(1, 2)),
        log(STRANGER, DEPOSIT, me, words=(1,)),
        moved(STRANGER, NOBODY, WALLET, 9),
        # On our own pairs, by or for somebody else.
        log(USDC_WETH, BURN, STRANGER, WALLET, words=(1, 2)),
        log(USDC_WETH, BURN, me, STRANGER, words=(1, 2)),
        log(DAI_USDC, SWAP, me, STRANGER, words=(1, 0, 0, 1)),
        moved(DAI_USDC, NOBODY, STRANGER, 5),
        log(DAI_USDC, MINT, me, words=(5, 5)),
        log(DAI_USDC, MINT, STRANGER, words=(5, 5)),
        # Somebody else's ether, wrapped and unwrapped through the executor.
        log(weth, DEPOSIT, me, words=(3,)),
        moved(weth, me, STRANGER, 3),
        moved(weth, STRANGER, me, 3),
        log(weth, WITHDRAWAL, me, words=(3,)),
        # Not the shape of what it claims to be.
        {**log(DAI_USDC, MINT, me, words=(5, 5)), "data": "0x"},
        {"address": DAI_USDC, "topics": [MINT], "data": "0x"},
        {"address": DAI_USDC, "topics": [], "data": "0x"},
    ]
    logs = mixed_logs(EXECUTOR_ADDRESS)
    for at in (2, 7, 10, 12, len(logs) - 2, len(logs)):
        whole = [*logs[:at], *noise, *logs[at:]]
        assert decode_fills(mixed(), whole, EXECUTOR_ADDRESS) == PLANNED, at


@pytest.mark.parametrize("missing", [DEPOSIT, BURN, SWAP, MINT, WITHDRAWAL])
def test_fills__a_step_that_is_missing_or_happened_twice__is_an_error(missing: str) -> None:
    logs = mixed_logs(EXECUTOR_ADDRESS)
    (at,) = (i for i, entry in enumerate(logs) if entry["topics"][0] == missing)
    with pytest.raises(ExecutionError, match="hold 4 steps of the executor, the plan has 5"):
        decode_fills(mixed(), [*logs[:at], *logs[at + 1 :]], EXECUTOR_ADDRESS)
    with pytest.raises(ExecutionError, match="hold 6 steps"):
        decode_fills(mixed(), [*logs[: at + 1], logs[at], *logs[at + 1 :]], EXECUTOR_ADDRESS)


def test_fills__steps_in_another_order__are_an_error() -> None:
    logs = mixed_logs(WALLET)
    swapped = [*logs[1:], logs[0]]
    with pytest.raises(ExecutionError, match=r"step 1 happened on .*, the plan says wrap on"):
        decode_fills(mixed(), swapped, WALLET)


# Against the plan


def test_compare__the_planned_outcome_passes_without_any_tolerance() -> None:
    check_fills(mixed(), PLANNED, 0)
    check_net(mixed(), {amount.token: amount.raw for amount in NET}, 0)


@pytest.mark.parametrize(
    ("index", "changes", "said"),
    [
        (1, {"amount_out": 10**9 - 1}, "leg 2 of 5 (remove uniswap_v2:USDC/WETH) would bring"),
        (1, {"amount_in": 1}, "would pay 0.000000000000000001 uniswap_v2:USDC/WETH instead of"),
        (1, {"more_out": Amount(WETH, 1)}, "WETH instead of 0.5 WETH"),
        (3, {"amount_out": 1}, "leg 4 of 5 (add uniswap_v2:DAI/USDC) would bring"),
        (3, {"more_in": Amount(USDC, 1)}, "would pay 0.000001 USDC instead of 400 USDC"),
        (0, {"amount_out": 1}, "leg 1 of 5 (wrap ETH) would bring"),
        (4, {"amount_in": 1}, "leg 5 of 5 (unwrap WETH) would pay"),
    ],
)
def test_compare__one_unit_off__is_said_in_words(
    index: int, changes: dict[str, Any], said: str
) -> None:
    fills = list(PLANNED)
    fills[index] = replace(fills[index], **changes)
    with pytest.raises(SimulationMismatch) as caught:
        check_fills(mixed(), fills, 0)
    assert said in str(caught.value)


@pytest.mark.parametrize("told", [True, False], ids=["in the net", "from the legs"])
def test_compare__ether_and_shares_must_change_as_the_legs_say(told: bool) -> None:
    special = (ETH, REMOVE.share, ADD.share)
    net = NET if told else tuple(amount for amount in NET if amount.token not in special)
    plan = replace(mixed(), net=net)
    for amount in NET:
        check_net(plan, {amount.token: amount.raw}, 0)
        with pytest.raises(SimulationMismatch, match="the wallet's balance would change by"):
            check_net(plan, {amount.token: amount.raw + 1}, 0)


def test_legs_have_names() -> None:
    names = [leg_name(mixed(), index) for index in range(5)]
    assert names == [
        "leg 1 of 5 (wrap ETH)",
        "leg 2 of 5 (remove uniswap_v2:USDC/WETH)",
        "leg 3 of 5 (USDC -> DAI on uniswap_v2)",
        "leg 4 of 5 (add uniswap_v2:DAI/USDC)",
        "leg 5 of 5 (unwrap WETH)",
    ]


# Ether


def test_probes__ask_tokens_of_themselves_and_ether_of_the_probe() -> None:
    tokens = touched_tokens(mixed())
    assert tokens == (ETH, WETH, REMOVE.share, USDC, DAI, ADD.share)
    requests = balance_requests(mixed(), tokens)
    assert [request["to"] for request in requests] == [
        ETHER_PROBE,
        *(token.address for token in tokens[1:]),
    ]
    assert int(requests[0]["data"], 16) == int(WALLET, 16)
    assert overrides(requests)["stateOverrides"].keys() == {ETHER_PROBE}
    assert overrides(requests[1:]) == {}
    assert ETH not in touched_tokens(plan_of(SWAP_LEG))


def test_ether_that_is_not_there_is_missed_in_time() -> None:
    head = Head(1, "0x" + "11" * 32, 0, 30_000_000)
    rpc = FakeRpc({"eth_getBalance": hex(UNIT)})
    check_ether(rpc, WALLET, UNIT, head)
    check_ether(rpc, WALLET, 0, head)
    assert rpc.count("eth_getBalance") == 1, "a plan that wraps nothing asks nothing"
    with pytest.raises(InsufficientGas, match=r"has 1 of the native currency, the plan wraps 1\.5"):
        check_ether(rpc, WALLET, UNIT * 3 // 2, head)


def test_wrap_leg__later__is_for_delegated_wallets() -> None:
    legs: list[Leg] = [SWAP_LEG, WrapLeg(ETH, WETH, 5)]
    assert encode_execute(legs, 1, as_wallet=True)
