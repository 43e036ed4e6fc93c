"""Plans become fills on a real EVM, to the wei, and what is not as planned is refused unsigned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bundler_kit import (
    GWEI,
    Hooked,
    MemoryJournal,
    Trade,
    allowance,
    approve,
    balances,
    give,
    make_plan,
    nonce_of,
    pace,
    signer_of,
    trade_against,
    unsupported,
)

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.prepare import dry_run, prepare
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import UNI, USDC, USDT, WBTC, WETH
from rebalancer.errors import (
    ChainMismatch,
    ConfigError,
    ExecutorMissing,
    InsufficientGas,
    LimitBreached,
    MissingAllowance,
    NonceConflict,
    ReadError,
    RpcUnavailable,
    SimulationMismatch,
    SimulationReverted,
    StalePlan,
    TransactionReverted,
)
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Fill, Plan, Token, TransactionOutcome

ONE_WETH = 10**18
THOUSAND_USDC = 1_000 * 10**6
SELL_WETH = (Trade(WETH, USDC, 7 * ONE_WETH),)


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    """The synthetic mainnet with the executor on it."""
    deploy(devchain.rpc, signer_of(ARBITRAGEUR), 1, 300 * GWEI, pace())
    return devchain.rpc


def run(rpc: Rpc, plan: Plan, journal: MemoryJournal | None = None) -> list[TransactionOutcome]:
    bundle = prepare(rpc, plan, signer_of()).bundle
    return list(submit(rpc, journal or MemoryJournal(), plan, bundle, pace()))


def planned_fills(plan: Plan) -> tuple[Fill, ...]:
    return tuple(
        Fill(i, leg.pair, leg.token_in, leg.token_out, leg.amount_in, leg.amount_out)
        for i, leg in enumerate(plan.legs)
    )


def turn_into_fee_token(rpc: Rpc, token: Token) -> None:
    """Give a token of the development chain the code of the mock that keeps 1 % of transfers."""
    vyper = pytest.importorskip("vyper")
    root = Path(__file__).resolve().parents[2]
    source = (root / "contracts" / "mocks" / "FeeOnTransferToken.vy").read_text()
    first = "balanceOf: public(HashMap"
    assert source.count(first) == 1
    # The development token keeps its total supply in the slot before the balances.
    moved = source.replace(first, f"totalSupply: public(uint256)\n{first}")
    compiled = vyper.compile_code(moved, output_formats=["bytecode_runtime"])
    rpc.call("anvil_setCode", token.address, compiled["bytecode_runtime"])


def refused(rpc: Rpc, plan: Plan, error: type[Exception], match: str) -> None:
    """Preparing fails, and leaves neither a transaction nor an allowance behind."""
    nonce, old = nonce_of(rpc), allowance(rpc, plan.legs[0].token_in, EXECUTOR_ADDRESS)
    with pytest.raises(error, match=match) as caught:
        prepare(rpc, plan, signer_of())
    assert getattr(caught.value, "hint", ""), "an error without a way out"
    assert nonce_of(rpc) == nonce
    assert int(rpc.call("eth_getTransactionCount", TREASURY, "pending"), 16) == nonce
    assert allowance(rpc, plan.legs[0].token_in, EXECUTOR_ADDRESS) == old


def test_fills_and_balances_equal_the_plan_to_the_wei(rpc: Rpc, mainnet: Network) -> None:
    trades = [
        Trade(WETH, USDC, 7 * ONE_WETH),
        Trade(WBTC, USDC, 12_345_678),
        Trade(WETH, WBTC, ONE_WETH // 3),
    ]
    plan = make_plan(rpc, mainnet, trades)
    before = balances(rpc, [WETH, USDC, WBTC])
    journal = MemoryJournal()

    *approvals, execution = run(rpc, plan, journal)

    assert [outcome.purpose for outcome in approvals] == ["approve", "approve"]
    assert execution.fills == planned_fills(plan)
    after = balances(rpc, [WETH, USDC, WBTC])
    assert {a.token: a.raw for a in plan.net} == {t: after[t] - before[t] for t in after}
    for token in (WETH, WBTC):
        assert allowance(rpc, token, EXECUTOR_ADDRESS) == 0, "an allowance was left over"
    assert journal.kinds() == ["stored"] * 3 + ["sent", "mined"] * 3 + ["confirmed"] * 3
    assert not journal.open_bundles(1, TREASURY)


def test_two_hops_chained_pay_pair_to_pair(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(
        rpc,
        mainnet,
        [Trade(USDC, WETH, 5 * THOUSAND_USDC), Trade(WETH, WBTC), Trade(WETH, USDT, ONE_WETH)],
    )
    before = balances(rpc, [USDC, WETH, WBTC, USDT])
    execution = run(rpc, plan)[-1]
    assert execution.fills == planned_fills(plan)
    after = balances(rpc, [USDC, WETH, WBTC, USDT])
    assert before[WETH] - after[WETH] == ONE_WETH, "the wallet paid for the hop as well"
    assert {a.token: a.raw for a in plan.net} == {t: after[t] - before[t] for t in after}


def test_gas_components_add_up_and_tell_the_refund(rpc: Rpc, mainnet: Network) -> None:
    outcomes = run(rpc, make_plan(rpc, mainnet, SELL_WETH))
    for outcome in outcomes:
        assert sum(c.gas for c in outcome.components) == outcome.gas_used
    approval, execution = ({c.name: c.gas for c in outcome.components} for outcome in outcomes)
    assert set(approval) == {"intrinsic", "calldata", "approval"}
    # The pair's lock gives 2,800 back, the consumed allowance 4,800.
    assert execution["refund"] == -(2_800 + 4_800)
    assert {"intrinsic", "calldata", "transfers", "quotes", "swaps", "executor"} < set(execution)


def test_without_traces_the_components_still_add_up(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, SELL_WETH)
    bundle = prepare(rpc, plan, signer_of()).bundle

    def no_traces(count: int) -> None:
        raise RpcUnavailable("no debug methods here")

    only_geth = Hooked(rpc, "trace_transaction", before=no_traces)
    nothing = Hooked(only_geth, "debug_traceTransaction", before=no_traces)
    journal = MemoryJournal()
    execution = submit(nothing, journal, plan, bundle, pace())[-1]
    assert [c.name for c in execution.components] == ["intrinsic", "calldata", "execution"]
    assert sum(c.gas for c in execution.components) == execution.gas_used

    plan = make_plan(rpc, mainnet, SELL_WETH)
    bundle = prepare(rpc, plan, signer_of()).bundle
    execution = submit(only_geth, journal, plan, bundle, pace())[-1]
    names = [c.name for c in execution.components]
    assert "executor_less_refund" in names
    assert "refund" not in names
    assert sum(c.gas for c in execution.components) == execution.gas_used


@pytest.mark.parametrize(
    ("old_allowance", "purposes"),
    [
        (0, ["approve", "execute"]),
        (1, ["approve", "approve", "execute"]),
        (500 * 10**6, ["execute"]),
        (501 * 10**6, ["execute"]),
    ],
)
def test_usdt_is_sold_whatever_the_old_allowance(
    rpc: Rpc, mainnet: Network, old_allowance: int, purposes: list[str]
) -> None:
    give(rpc, USDT, 500 * 10**6)
    approve(rpc, USDT, EXECUTOR_ADDRESS, old_allowance)
    plan = make_plan(rpc, mainnet, [Trade(USDT, WETH, 500 * 10**6)])
    outcomes = run(rpc, plan)
    assert [outcome.purpose for outcome in outcomes] == purposes
    assert outcomes[-1].fills == planned_fills(plan)
    left = allowance(rpc, USDT, EXECUTOR_ADDRESS)
    assert left == max(0, old_allowance - 500 * 10**6)


def test_a_token_that_allows_it_is_approved_in_one_step(rpc: Rpc, mainnet: Network) -> None:
    approve(rpc, WETH, EXECUTOR_ADDRESS, 5)
    outcomes = run(rpc, make_plan(rpc, mainnet, SELL_WETH))
    assert [outcome.purpose for outcome in outcomes] == ["approve", "execute"]
    assert allowance(rpc, WETH, EXECUTOR_ADDRESS) == 0


def test_what_was_simulated_is_what_is_signed(rpc: Rpc, mainnet: Network) -> None:
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes

    simulated: list[dict[str, str]] = []

    class Spy(Hooked):
        def call(self, method: str, *params: object) -> object:
            if method == "eth_simulateV1":
                simulated[:] = params[0]["blockStateCalls"][0]["calls"]  # type: ignore[index]
                assert isinstance(params[0]["validation"], bool)  # type: ignore[index]
            return super().call(method, *params)

    prepared = prepare(Spy(rpc, ""), make_plan(rpc, mainnet, SELL_WETH), signer_of())
    assert len(simulated) == len(prepared.bundle.transactions) == 2
    for request, transaction in zip(simulated, prepared.bundle.transactions, strict=True):
        signed = TypedTransaction.from_bytes(HexBytes(transaction.raw)).as_dict()
        assert request == {
            "from": TREASURY,
            "to": transaction.to,
            "data": "0x" + bytes(signed["data"]).hex(),
            "value": hex(signed["value"]),
            "nonce": hex(signed["nonce"]),
            "gas": hex(signed["gas"]),
            "maxFeePerGas": hex(signed["maxFeePerGas"]),
            "maxPriorityFeePerGas": hex(signed["maxPriorityFeePerGas"]),
        }
        assert bytes(signed["to"]).hex() == transaction.to[2:].lower()
    assert prepared.dry_run.simulation.fills == planned_fills(make_plan(rpc, mainnet, SELL_WETH))


def test_gas_limits_hold_and_are_not_wasteful(rpc: Rpc, mainnet: Network) -> None:
    trades = [Trade(WETH, USDC, ONE_WETH), Trade(USDC, WBTC), Trade(WBTC, WETH)]
    plan = make_plan(rpc, mainnet, trades)
    bundle = prepare(rpc, plan, signer_of()).bundle
    outcomes = submit(rpc, MemoryJournal(), plan, bundle, pace())
    for transaction, outcome in zip(bundle.transactions, outcomes, strict=True):
        assert outcome.gas_used < transaction.gas_limit < 2 * outcome.gas_used


def test_simulated_gas_is_the_gas_that_is_used_also_right_after_a_trade(
    rpc: Rpc, mainnet: Network
) -> None:
    """In the second of its last trade a pair is 10,000 gas cheaper: that must not be simulated."""
    trade_against(rpc, mainnet, USDC, WETH, 5 * THOUSAND_USDC)
    plan = make_plan(rpc, mainnet, SELL_WETH)
    prepared = prepare(rpc, plan, signer_of())
    outcomes = submit(rpc, MemoryJournal(), plan, prepared.bundle, pace())
    assert prepared.dry_run.simulation.gas_used == tuple(o.gas_used for o in outcomes)


def test_a_dry_run_needs_no_key_and_changes_nothing(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, SELL_WETH)
    head, nonce = rpc.call("eth_blockNumber"), nonce_of(rpc)
    rehearsed = dry_run(rpc, plan)
    assert [t.call.purpose for t in rehearsed.transactions] == ["approve", "execute"]
    assert rehearsed.simulation.fills == planned_fills(plan)
    total_gas = sum(t.gas_limit for t in rehearsed.transactions)
    assert rehearsed.max_cost_wei == total_gas * rehearsed.fees.max_fee_wei
    assert (rpc.call("eth_blockNumber"), nonce_of(rpc)) == (head, nonce)
    assert allowance(rpc, WETH, EXECUTOR_ADDRESS) == 0


@pytest.mark.parametrize(("sold", "bought"), [(WETH, USDC), (USDC, WETH)])
def test_a_price_that_moved_either_way_is_refused(
    rpc: Rpc, mainnet: Network, sold: object, bought: object
) -> None:
    plan = make_plan(rpc, mainnet, SELL_WETH)
    amount = 40 * ONE_WETH if sold is WETH else 120_000 * 10**6  # moves the price by 0.4 %
    trade_against(rpc, mainnet, sold, bought, amount)  # type: ignore[arg-type]
    direction = r"\(-0\.3" if sold is WETH else r"\(\+0\.3"
    refused(
        rpc, plan, SimulationMismatch, rf"leg 1 of 1 \(WETH -> USDC .* would bring .*{direction}"
    )
    assert dry_run(rpc, plan, tolerance_ppm=5_000).simulation.fills != planned_fills(plan)


def test_a_leg_below_its_minimum_is_named(rpc: Rpc, mainnet: Network) -> None:
    trades = [Trade(WETH, USDC, ONE_WETH), Trade(WETH, WBTC, ONE_WETH), Trade(WBTC, USDC)]
    plan = make_plan(rpc, mainnet, trades)
    trade_against(rpc, mainnet, WETH, WBTC, 200 * ONE_WETH)
    refused(
        rpc,
        plan,
        SimulationReverted,
        r"step 2 of 2 .* leg 2 of 3 \(WETH -> WBTC .*: executor: amount out below minimum",
    )


def test_a_wallet_that_lacks_what_it_sells_is_told_which_leg(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, [*SELL_WETH, Trade(USDT, WETH, 10**6)])
    refused(rpc, plan, SimulationReverted, r"leg 2 of 2 \(USDT -> WETH")


def test_a_market_that_moves_after_signing_reverts_as_a_whole(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, [Trade(WETH, USDC, ONE_WETH), Trade(WBTC, USDC, 10**6)])
    bundle = prepare(rpc, plan, signer_of()).bundle
    trade_against(rpc, mainnet, WBTC, USDC, 20 * 10**8)
    before, journal = balances(rpc, [WETH, USDC, WBTC]), MemoryJournal()
    with pytest.raises(TransactionReverted, match="executor: amount out below minimum"):
        submit(rpc, journal, plan, bundle, pace())
    assert balances(rpc, [WETH, USDC, WBTC]) == before
    outcome = journal.outcomes[bundle.transactions[-1].tx_hash]
    assert (outcome.status, outcome.fills) == (0, ())
    assert sum(c.gas for c in outcome.components) == outcome.gas_used
    assert not journal.open_bundles(1, TREASURY)


def test_a_token_that_takes_a_fee_on_the_way_out_is_found_by_its_balance(
    rpc: Rpc, mainnet: Network
) -> None:
    turn_into_fee_token(rpc, UNI)
    plan = make_plan(rpc, mainnet, [Trade(WETH, UNI, ONE_WETH)])
    refused(rpc, plan, SimulationMismatch, r"balance would change by .* UNI instead of .*\(-1 %\)")


def test_a_token_that_takes_a_fee_on_the_way_in_breaks_the_pair(rpc: Rpc, mainnet: Network) -> None:
    give(rpc, UNI, 10**20)
    turn_into_fee_token(rpc, UNI)
    plan = make_plan(rpc, mainnet, [Trade(UNI, WETH, 10**20)])
    refused(rpc, plan, SimulationReverted, r"leg 1 of 1 \(UNI -> WETH .*UniswapV2: K")


def test_a_wallet_without_gas_is_refused_with_the_numbers(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, SELL_WETH)
    rpc.call("anvil_setBalance", TREASURY, hex(10**12))
    refused(rpc, plan, InsufficientGas, r"has 0\.000001 of .* gas needs up to 0\.0\d+ \(\d")


def test_no_executor_or_another_contract_in_its_place(devchain: DevChain, mainnet: Network) -> None:
    plan = make_plan(devchain.rpc, mainnet, SELL_WETH)
    refused(devchain.rpc, plan, ExecutorMissing, "no executor contract")
    devchain.rpc.call("anvil_setCode", EXECUTOR_ADDRESS, "0x6000")
    refused(devchain.rpc, plan, ExecutorMissing, "is not that of the executor")


def test_missing_allowance_names_token_amount_and_executor(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, SELL_WETH)
    with pytest.raises(MissingAllowance, match=rf"{EXECUTOR_ADDRESS} may take 0 WETH .* 7 WETH"):
        dry_run(rpc, plan, approvals="never")
    approve(rpc, WETH, EXECUTOR_ADDRESS, 7 * ONE_WETH)
    rehearsed = dry_run(rpc, plan, approvals="never")
    assert [t.call.purpose for t in rehearsed.transactions] == ["execute"]


def _older(plan: Plan, rpc: Rpc) -> Plan:
    rpc.call("anvil_mine", hex(plan.max_age_blocks + 1))
    return plan


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_older, "the plan is 6 blocks old"),
        (lambda plan, rpc: replace(plan, block_hash="0x" + "11" * 32), "reorganised away"),
        (lambda plan, rpc: replace(plan, deadline_ts=plan.deadline_ts - 600), "deadline passed"),
    ],
)
def test_a_stale_plan_is_refused(
    rpc: Rpc, mainnet: Network, spoil: Callable[[Plan, Rpc], Plan], match: str
) -> None:
    refused(rpc, spoil(make_plan(rpc, mainnet, SELL_WETH), rpc), StalePlan, match)


def test_the_oldest_plan_that_is_allowed_passes(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, SELL_WETH)
    rpc.call("anvil_mine", hex(plan.max_age_blocks))
    assert dry_run(rpc, plan).simulation.fills == planned_fills(plan)


def test_wrong_chain_wrong_key_lagging_node_dear_gas(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, SELL_WETH)
    refused(rpc, replace(plan, chain_id=10), ChainMismatch, "serves chain 1, .* chain 10")
    refused(rpc, replace(plan, block_number=10**6), RpcUnavailable, "node is at block")
    refused(rpc, replace(plan, max_fee_wei=GWEI), LimitBreached, "the plan allows 1 gwei")
    with pytest.raises(ConfigError, match="the portfolio's wallet is"):
        prepare(rpc, plan, signer_of(ARBITRAGEUR))


def test_pending_transactions_of_others_are_not_raced(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, SELL_WETH)
    rpc.call("evm_setAutomine", False)
    rpc.call("anvil_impersonateAccount", TREASURY)
    rpc.call("eth_sendTransaction", {"from": TREASURY, "to": TREASURY, "value": "0x1"})
    rpc.call("anvil_stopImpersonatingAccount", TREASURY)
    with pytest.raises(NonceConflict, match="has 1 pending transactions"):
        prepare(rpc, plan, signer_of())


def test_a_node_without_simulate_v1_serves_when_no_approval_is_needed(
    rpc: Rpc, mainnet: Network
) -> None:
    old_node = Hooked(rpc, "eth_simulateV1", before=unsupported)
    trades = [Trade(WETH, USDC, 7 * ONE_WETH), Trade(USDC, WBTC)]
    plan = make_plan(rpc, mainnet, trades)
    with pytest.raises(ReadError, match="no eth_simulateV1"):
        dry_run(old_node, plan)

    approve(rpc, WETH, EXECUTOR_ADDRESS, 7 * ONE_WETH)
    prepared = prepare(old_node, plan, signer_of())
    assert prepared.dry_run.simulation.fills == planned_fills(plan)
    outcomes = submit(old_node, MemoryJournal(), plan, prepared.bundle, pace())
    assert outcomes[-1].fills == planned_fills(plan)

    approve(rpc, WETH, EXECUTOR_ADDRESS, 7 * ONE_WETH)
    plan = make_plan(rpc, mainnet, trades)
    trade_against(rpc, mainnet, WETH, USDC, 40 * ONE_WETH)
    with pytest.raises(SimulationMismatch, match="leg 1 of 2"):
        dry_run(old_node, plan)
    trade_against(rpc, mainnet, WETH, USDC, 400 * ONE_WETH)
    with pytest.raises(SimulationReverted, match="executor: amount out below minimum"):
        dry_run(old_node, plan)
