"""A sandwich: somebody moves the pool around our transaction, in the very same block.

The attacker sees the plan's transaction and has the first word and the last. What he can take is
bounded by the plan: each leg brings at least its minimum, or nothing happens at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from bundler_kit import (
    GWEI,
    MemoryJournal,
    Trade,
    approve,
    balances,
    make_plan,
    pace,
    read_pair,
    signer_of,
)

from rebalancer.amm.swap import apply_swap
from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR
from rebalancer.devchain.cheats import call_of
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, WBTC, WETH
from rebalancer.errors import TransactionReverted
from rebalancer.evm.rpc import Rpc
from rebalancer.model import PPM, PairState, Plan, SwapLeg, Token

SLIPPAGE_PPM = 5_000
TOKENS = (WETH, USDC, WBTC)


@dataclass
class Attacker:
    """Trades before us what we trade, ``size_ppm`` of the pool's reserve, and back after us."""

    rpc: Rpc
    leg: SwapLeg
    size_ppm: int
    moved: PairState = field(init=False)
    bought: int = field(init=False)
    paid: int = field(init=False)
    hashes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        leg = self.leg
        before = read_pair(self.rpc, leg.pair, leg.token_in, leg.token_out)
        self.paid = before.reserves(leg.token_in)[0] * self.size_ppm // PPM
        self.moved, self.bought = before, 0
        if self.paid:
            self.moved, self.bought = apply_swap(before, leg.token_in, self.paid)

    @property
    def left_for_us(self) -> int:
        """What our leg brings after his purchase."""
        return apply_swap(self.moved, self.leg.token_in, self.leg.amount_in)[1]

    def build(self, _seconds: float = 0) -> None:
        """The block: his purchase, what waits in the pool (ours), his sale.

        Anvil orders by the highest fee that is offered; ours is twice the base fee and the tip.
        """
        if self.paid:
            leg, after = self.leg, self.moved
            if self.left_for_us >= leg.min_amount_out:
                after, _ = apply_swap(self.moved, leg.token_in, leg.amount_in)
            head = self.rpc.call("eth_getBlockByNumber", "latest", False)
            low_wei = int(head["baseFeePerGas"], 16) * 5 // 4
            back = apply_swap(after, leg.token_out, self.bought)[1]
            self._swap(leg.token_in, leg.token_out, self.paid, self.bought, 300 * GWEI)
            self._swap(leg.token_out, leg.token_in, self.bought, back, low_wei)
        self.rpc.call("evm_mine")

    def _swap(
        self, token_in: Token, token_out: Token, paid: int, bought: int, max_fee_wei: int
    ) -> None:
        first = int(token_in.address, 16) < int(token_out.address, 16)
        out = (0, bought) if first else (bought, 0)
        for call in (
            call_of(token_in.address, "transfer(address,uint256)", self.leg.pair, paid),
            call_of(self.leg.pair, "swap(uint256,uint256,address,bytes)", *out, ARBITRAGEUR, b""),
        ):
            request = {
                "from": ARBITRAGEUR,
                "to": call.to,
                "data": call.data,
                "gas": hex(400_000),
                "maxFeePerGas": hex(max_fee_wei),
                "maxPriorityFeePerGas": "0x0",
            }
            self.hashes.append(self.rpc.call("eth_sendTransaction", request))

    def check_order(self, ours: str) -> None:
        """His purchase came before us and his sale after, all in one block, and both worked."""
        receipts = [
            self.rpc.call("eth_getTransactionReceipt", tx_hash) for tx_hash in (*self.hashes, ours)
        ]
        assert len({receipt["blockHash"] for receipt in receipts}) == 1
        *his, own = (int(receipt["transactionIndex"], 16) for receipt in receipts)
        assert his[:2] == [0, 1]
        assert own == 2
        assert his[2:] == [3, 4]
        assert [int(receipt["status"], 16) for receipt in receipts[:4]] == [1] * 4


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    rpc = devchain.rpc
    deploy(rpc, signer_of(ARBITRAGEUR), 1, 300 * GWEI, pace())
    for token in (WETH, WBTC):
        approve(rpc, token, EXECUTOR_ADDRESS, 2**200)
    rpc.call("anvil_impersonateAccount", ARBITRAGEUR)
    return rpc


def attacked(rpc: Rpc, plan: Plan, attacker: Attacker) -> tuple[MemoryJournal, str]:
    """Send the plan's one transaction to the public pool, where the attacker builds the block."""
    bundle = prepare(rpc, plan, signer_of(), approvals="never").bundle
    (transaction,) = bundle.transactions
    journal = MemoryJournal()
    rpc.call("evm_setAutomine", False)
    clock = Pace(clock=lambda: 0.0, sleep=attacker.build, poll_s=0.0)
    try:
        submit(rpc, journal, plan, bundle, clock)
    except TransactionReverted as error:
        assert "executor: amount out below minimum" in str(error)  # noqa: PT017
    return journal, transaction.tx_hash


@pytest.mark.parametrize("size_ppm", [0, 100, 500, 1_000, 1_900, 2_400, 2_600, 5_000, 50_000])
def test_a_sandwich_takes_at_most_what_the_plan_allows_or_nothing(
    rpc: Rpc, mainnet: Network, size_ppm: int
) -> None:
    plan = make_plan(rpc, mainnet, [Trade(WETH, USDC, 7 * 10**18)], slippage_ppm=SLIPPAGE_PPM)
    (leg,) = plan.legs
    attacker = Attacker(rpc, leg, size_ppm)
    before = balances(rpc, TOKENS)

    journal, ours = attacked(rpc, plan, attacker)

    after = balances(rpc, TOKENS)
    change = {token: after[token] - before[token] for token in TOKENS}
    outcome = journal.outcomes[ours]
    if attacker.left_for_us >= leg.min_amount_out:
        assert outcome.status == 1
        assert change == {WETH: -leg.amount_in, USDC: attacker.left_for_us, WBTC: 0}
        loss = leg.amount_out - change[USDC]
        assert 0 <= loss <= leg.amount_out - leg.min_amount_out, "more than the plan's bound"
        assert loss * PPM <= SLIPPAGE_PPM * leg.amount_out + PPM
    else:
        assert outcome.status == 0
        assert change == dict.fromkeys(TOKENS, 0), "half of it happened"
    if size_ppm:
        attacker.check_order(ours)


def test_both_sides_of_the_bound_are_reached(rpc: Rpc, mainnet: Network) -> None:
    """The sizes above are around the one from which on the plan refuses."""
    plan = make_plan(rpc, mainnet, [Trade(WETH, USDC, 7 * 10**18)], slippage_ppm=SLIPPAGE_PPM)
    (leg,) = plan.legs
    passes = [Attacker(rpc, leg, size).left_for_us >= leg.min_amount_out for size in (2_400, 2_600)]
    assert passes == [True, False]


@pytest.mark.parametrize("which", [0, 1])
def test_one_leg_attacked_means_no_leg_at_all(rpc: Rpc, mainnet: Network, which: int) -> None:
    trades = [Trade(WETH, USDC, 3 * 10**18), Trade(WBTC, WETH, 10**7)]
    plan = make_plan(rpc, mainnet, trades, slippage_ppm=SLIPPAGE_PPM)
    attacker = Attacker(rpc, plan.legs[which], 20_000)
    before = balances(rpc, TOKENS)
    journal, ours = attacked(rpc, plan, attacker)
    assert journal.outcomes[ours].status == 0
    assert balances(rpc, TOKENS) == before
    attacker.check_order(ours)


def test_on_a_route_the_minimum_is_that_of_its_end(rpc: Rpc, mainnet: Network) -> None:
    """The middle pool is moved; the end brings its minimum, or the route does not happen."""
    plan = make_plan(
        rpc, mainnet, [Trade(WBTC, WETH, 10**7), Trade(WETH, USDC)], slippage_ppm=SLIPPAGE_PPM
    )
    results: dict[int, Any] = {}
    for size_ppm in (1_000, 10_000):
        snapshot = rpc.call("evm_snapshot")
        attacker = Attacker(rpc, plan.legs[0], size_ppm)
        before = balances(rpc, TOKENS)
        journal, ours = attacked(rpc, plan, attacker)
        gained = balances(rpc, TOKENS)[USDC] - before[USDC]
        results[size_ppm] = journal.outcomes[ours].status
        assert gained == 0 or gained >= plan.legs[-1].min_amount_out
        rpc.call("evm_setAutomine", True)
        assert rpc.call("evm_revert", snapshot)
    assert results == {1_000: 1, 10_000: 0}
