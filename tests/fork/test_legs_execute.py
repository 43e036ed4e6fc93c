"""Legs of every kind on official bytecode: all of a plan to the wei, or nothing of it."""

from __future__ import annotations

import pytest
from bundler_kit import (
    GWEI,
    Hooked,
    MemoryJournal,
    allowance,
    balances,
    give,
    pace,
    signer_of,
    trade_against,
    unsupported,
)
from legs_kit import ETH, Draft, give_shares, holdings, net_of, share_of

from rebalancer.bundler.approvals import ApprovalPolicy
from rebalancer.bundler.delegating import delegate
from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS, WALLET_EXECUTOR
from rebalancer.bundler.lane import Lane
from rebalancer.bundler.modes import Mode
from rebalancer.bundler.prepare import dry_run, prepare
from rebalancer.bundler.propose import prepare_execution, propose
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, USDT, WETH
from rebalancer.devchain.safes import install_safe
from rebalancer.errors import (
    InsufficientGas,
    PlanError,
    ReadError,
    SimulationMismatch,
    SimulationReverted,
    TransactionReverted,
)
from rebalancer.evm.abi import checksum
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Plan, Token, TransactionOutcome

UNIT = 10**18
FEE = 300 * GWEI
SAFE = checksum("0x5afe000000000000000000000000000000000001")
OWNERS = [account for account in DEV_ACCOUNTS if account != ARBITRAGEUR][:2]
SHARES = 10**14


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    deploy(devchain.rpc, signer_of(), 1, FEE, pace())
    deploy(devchain.rpc, signer_of(), 1, FEE, pace(), WALLET_EXECUTOR)
    return devchain.rpc


def everything(rpc: Rpc, network: Network, wallet: str = TREASURY) -> Draft:
    """Wraps ether, leaves a pool, swaps what came of it, enters another pool, unwraps."""
    draft = Draft(rpc, network, wallet)
    give_shares(rpc, share_of(network, USDC, WETH), SHARES, wallet)
    draft.wrap(UNIT)
    out = draft.remove(USDC, WETH, SHARES)
    bought = draft.swap(USDC, USDT, out.amount0)
    draft.add(USDT, WETH, bought.amount_out)
    draft.unwrap(UNIT // 2)
    return draft


def touched(plan: Plan) -> list[Token]:
    tokens = [amount.token for leg in plan.legs for amount in (*leg.takes, *leg.pays)]
    return list(dict.fromkeys(tokens))


def run(
    rpc: Rpc, plan: Plan, mode: Mode, approvals: ApprovalPolicy = "exact"
) -> tuple[TransactionOutcome, ...]:
    if mode == "safe":
        proposed = propose(rpc, plan)
        owners = [signer_of(owner) for owner in OWNERS]
        ready = prepare_execution(rpc, proposed, owners, signer_of(ARBITRAGEUR))
        lane = Lane(signer=signer_of(ARBITRAGEUR))
        return submit(rpc, MemoryJournal(), plan, ready.bundle, pace(), lane)
    prepared = prepare(rpc, plan, signer_of(), mode=mode, approvals=approvals)
    return submit(rpc, MemoryJournal(), plan, prepared.bundle, pace())


WAYS: list[tuple[Mode, ApprovalPolicy]] = [
    ("allowance", "exact"),
    ("allowance", "permit"),
    ("eip7702", "exact"),
    ("safe", "exact"),
]


@pytest.mark.parametrize(("mode", "approvals"), WAYS, ids=["exact", "permit", "7702", "safe"])
def test_every_kind__fills_and_balances_equal_the_plan_to_the_wei(
    rpc: Rpc, mainnet: Network, mode: Mode, approvals: ApprovalPolicy
) -> None:
    wallet = SAFE if mode == "safe" else TREASURY
    if mode == "eip7702":
        delegate(rpc, signer_of(), 1, FEE, pace())
    if mode == "safe":
        install_safe(rpc, SAFE, OWNERS, 2, payer=TREASURY)
        give(rpc, WETH, UNIT, SAFE)
        rpc.call("anvil_setBalance", SAFE, hex(2 * UNIT))
    draft = everything(rpc, mainnet, wallet)
    plan = draft.plan()
    tokens = touched(plan)
    before = holdings(rpc, tokens, wallet)

    outcomes = run(rpc, plan, mode, approvals)

    fills = outcomes[-1].fills
    assert [fill.takes for fill in fills] == [leg.takes for leg in plan.legs]
    assert [fill.pays for fill in fills] == [leg.pays for leg in plan.legs]
    after = holdings(rpc, tokens, wallet)
    paid_wei = 0 if mode == "safe" else sum(outcome.gas_cost_wei for outcome in outcomes)
    after[ETH] += paid_wei
    wanted = net_of(draft.legs)
    assert {token: after[token] - before[token] for token in tokens} == wanted
    erc20 = [token for token in tokens if token != ETH]
    assert [allowance(rpc, token, EXECUTOR_ADDRESS, wallet) for token in erc20] == [0] * len(erc20)
    assert set(holdings(rpc, tokens, EXECUTOR_ADDRESS).values()) == {0}
    gas = {component.name: component.gas for component in outcomes[-1].components}
    assert sum(gas.values()) == outcomes[-1].gas_used
    if mode != "safe":
        kinds = {"swaps", "adds", "removals", "wraps", "unwraps", "transfers", "quotes"}
        assert kinds <= gas.keys()
        assert ("permits" in gas) == (approvals == "permit")


def test_permits__shares_of_a_pair_need_no_approval(rpc: Rpc, mainnet: Network) -> None:
    plan = everything(rpc, mainnet).plan()

    shown = prepare(rpc, plan, signer_of(), approvals="permit").bundle

    approved = {tx.to for tx in shown.transactions if tx.purpose == "approve"}
    assert share_of(mainnet, USDC, WETH).address not in approved
    assert shown.transactions[-1].value_wei == UNIT


def test_protocol_fee__minted_beside_ours__is_not_taken_for_ours(
    rpc: Rpc, mainnet: Network
) -> None:
    """SushiSwap mints shares for itself in front of every mint and burn."""
    draft = Draft(rpc, mainnet)
    sushi = share_of(mainnet, USDC, WETH, "sushiswap")
    give_shares(rpc, sushi, SHARES // 100)
    out = draft.remove(USDC, WETH, SHARES // 100, "sushiswap")
    draft.swap(USDC, WETH, out.amount0 // 2)
    draft.add(USDC, WETH, out.amount0 // 3, "sushiswap")
    plan = draft.plan()
    before = holdings(rpc, touched(plan))

    (*_, execution) = run(rpc, plan, "allowance")

    assert [fill.pays for fill in execution.fills] == [leg.pays for leg in plan.legs]
    after = holdings(rpc, touched(plan))
    assert {t: after[t] - before[t] for t in touched(plan)} == net_of(draft.legs)


def test_wrapped_ether__goes_straight_into_a_pair(rpc: Rpc, mainnet: Network) -> None:
    draft = Draft(rpc, mainnet)
    draft.wrap(UNIT)
    draft.swap(WETH, USDC)
    draft.swap(USDC, USDT)
    plan = draft.plan()
    before = holdings(rpc, [WETH, USDC, USDT])

    outcomes = run(rpc, plan, "allowance")

    after = holdings(rpc, [WETH, USDC, USDT])
    assert [outcome.purpose for outcome in outcomes] == ["execute"], "nothing needs an allowance"
    assert (after[WETH], after[USDC]) == (before[WETH], before[USDC])
    assert after[USDT] - before[USDT] == plan.legs[-1].pays[0].raw


def test_safe__proposal_of_one_call__carries_the_ether_itself(rpc: Rpc, mainnet: Network) -> None:
    install_safe(rpc, SAFE, OWNERS, 2, payer=TREASURY)
    rpc.call("anvil_setBalance", SAFE, hex(2 * UNIT))
    draft = Draft(rpc, mainnet, SAFE)
    draft.wrap(UNIT)
    bought = draft.swap(WETH, USDC)
    plan = draft.plan()

    proposal = propose(rpc, plan).proposal
    (outcome,) = run(rpc, plan, "safe")

    assert (proposal.to, proposal.value_wei) == (EXECUTOR_ADDRESS, UNIT)
    assert proposal.service_document()["value"] == str(UNIT)
    assert proposal.builder_document(0)["transactions"][0]["value"] == str(UNIT)
    assert outcome.fills[1].pays == bought.pays
    after = holdings(rpc, [USDC, ETH], SAFE)
    assert after == {USDC: bought.amount_out, ETH: UNIT}


# A market that moves


MOVES = [
    (USDC, WETH, 2_000_000 * 10**6, "leg 2 of 5 (remove uniswap_v2:USDC/WETH)", "redeemed below"),
    (USDT, WETH, 2_000_000 * 10**6, "leg 4 of 5 (add uniswap_v2:WETH/USDT)", "shares below"),
    (USDC, USDT, 2_000_000 * 10**6, "leg 3 of 5 (USDC -> USDT on uniswap_v2)", "amount out below"),
]


@pytest.mark.parametrize("approvals", ["exact", "permit"])
@pytest.mark.parametrize(("sold", "bought", "raw", "where", "why"), MOVES)
def test_moved_pool__is_refused_with_leg_and_reason(
    rpc: Rpc,
    mainnet: Network,
    approvals: ApprovalPolicy,
    sold: Token,
    bought: Token,
    raw: int,
    where: str,
    why: str,
) -> None:
    plan = everything(rpc, mainnet).plan()
    give(rpc, sold, raw, ARBITRAGEUR)
    trade_against(rpc, mainnet, sold, bought, raw)

    with pytest.raises(SimulationReverted) as caught:
        prepare(rpc, plan, signer_of(), approvals=approvals)

    assert where in str(caught.value)
    assert why in str(caught.value)


def test_pool_moved_a_little__is_refused_with_the_numbers(rpc: Rpc, mainnet: Network) -> None:
    plan = everything(rpc, mainnet).plan()
    trade_against(rpc, mainnet, WETH, USDC, 10 * UNIT)

    with pytest.raises(
        SimulationMismatch, match=r"leg 2 of 5 \(remove .* would bring .* USDC instead"
    ):
        dry_run(rpc, plan, tolerance_ppm=1)


def test_pool_moved_after_the_signature__undoes_all_of_it(rpc: Rpc, mainnet: Network) -> None:
    plan = everything(rpc, mainnet).plan()
    prepared = prepare(rpc, plan, signer_of())
    trade_against(rpc, mainnet, USDT, WETH, 2_000_000 * 10**6)
    before = balances(rpc, [t for t in touched(plan) if t != ETH])

    with pytest.raises(TransactionReverted, match="shares below minimum"):
        submit(rpc, MemoryJournal(), plan, prepared.bundle, pace())

    assert balances(rpc, list(before)) == before


@pytest.mark.parametrize("mode", ["eip7702", "allowance"])
def test_earlier_legs_bring_less__a_delegated_wallet_goes_on_with_what_they_brought(
    rpc: Rpc, mainnet: Network, mode: Mode
) -> None:
    """The wallet has no USDC of its own: what was planned of it cannot be paid in full."""
    if mode == "eip7702":
        delegate(rpc, signer_of(), 1, FEE, pace())
    own = balances(rpc, [USDC])[USDC]
    mine_block(rpc, TREASURY, [call_of(USDC.address, "transfer(address,uint256)", OWNERS[1], own)])
    plan = everything(rpc, mainnet).plan()
    prepared = prepare(rpc, plan, signer_of(), mode=mode)
    trade_against(rpc, mainnet, WETH, USDC, 5 * UNIT)

    if mode == "allowance":
        with pytest.raises(TransactionReverted):
            submit(rpc, MemoryJournal(), plan, prepared.bundle, pace())
        return
    (outcome,) = submit(rpc, MemoryJournal(), plan, prepared.bundle, pace())
    removed, swapped = outcome.fills[1], outcome.fills[2]
    assert removed.amount_out < plan.legs[1].pays[0].raw
    assert swapped.amount_in == removed.amount_out
    assert balances(rpc, [USDC])[USDC] == 0
    assert outcome.fills[3].takes[1].raw <= swapped.amount_out < plan.legs[2].pays[0].raw


# What cannot be


def test_ether_that_is_not_there__is_said_before_anything_is_simulated(
    rpc: Rpc, mainnet: Network
) -> None:
    draft = Draft(rpc, mainnet)
    draft.wrap(10**9 * UNIT)

    with pytest.raises(InsufficientGas, match="the plan wraps 1,000,000,000 of it"):
        dry_run(rpc, draft.plan())


def test_wrapping_later__is_for_delegated_wallets_alone(rpc: Rpc, mainnet: Network) -> None:
    draft = Draft(rpc, mainnet)
    draft.swap(WETH, USDC, UNIT)
    draft.wrap(UNIT)
    draft.swap(WETH, USDC)
    plan = draft.plan()
    with pytest.raises(PlanError, match="wraps ether, which by allowance only the first leg can"):
        dry_run(rpc, plan)
    delegate(rpc, signer_of(), 1, FEE, pace())

    (outcome,) = run(rpc, plan, "eip7702")

    assert [fill.pays for fill in outcome.fills] == [leg.pays for leg in plan.legs]


def test_node_without_simulate__tells_swaps_and_ether_and_refuses_liquidity(
    rpc: Rpc, mainnet: Network
) -> None:
    old = Hooked(rpc, "eth_simulateV1", before=unsupported)
    draft = Draft(rpc, mainnet)
    draft.wrap(UNIT)
    draft.swap(WETH, USDC)
    simple = draft.plan()

    told = dry_run(old, simple).simulation.fills

    assert [fill.pays for fill in told] == [leg.pays for leg in simple.legs]
    delegate(rpc, signer_of(), 1, FEE, pace())
    with pytest.raises(ReadError, match="liquidity cannot be simulated"):
        dry_run(old, everything(rpc, mainnet).plan(), mode="eip7702")
