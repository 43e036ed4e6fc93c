"""A portfolio's life in hand-made objects: snapshot, valuation, plan, bundle, outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.evm.abi import checksum
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    E8,
    Amount,
    BlockRef,
    Bundle,
    Costs,
    ExpectedPosition,
    Exposure,
    Fill,
    GasComponent,
    Hold,
    LpDetail,
    LpEntry,
    LpHolding,
    Order,
    PairState,
    Plan,
    PositionValue,
    Price,
    Reason,
    Rebalance,
    SignedTransaction,
    Snapshot,
    SwapLeg,
    Token,
    TransactionOutcome,
    Valuation,
    digest,
)

WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
EXECUTOR = checksum("0x" + "e1" * 20)
WETH = Token("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "WETH", 18)
USDC = Token("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6)
WBTC = Token("0x2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599", "WBTC", 8)
USDC_WETH = "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc"
WBTC_WETH = "0xBb2b8038a1640196FbE3e38816F3e67Cba72D940"
NOW = 1_700_000_000
GWEI = 10**9


def block_hash(number: int, branch: str = "") -> str:
    return "0x" + keccak(text=f"block {number}{branch}").hex()


def snapshot(number: int = 100, **changes: Any) -> Snapshot:
    return replace(
        Snapshot(
            block=BlockRef(1, number, block_hash(number), NOW + 12 * number, 20 * GWEI),
            wallet=WALLET,
            numeraire="USD",
            native=Price(WETH, 3_000 * E8, 10**18, "chainlink:ETH/USD", NOW),
            native_wei=5 * 10**18,
            balances=(
                Amount(WETH, 100 * 10**18),
                Amount(USDC, 400_000 * 10**6),
                Amount(WBTC, 2 * 10**8),
            ),
            holdings=(LpHolding(USDC_WETH, 10**15, LpEntry(50, 1, 2**200, 3)),),
            pairs=(
                PairState(
                    USDC_WETH,
                    "uniswap_v2",
                    USDC,
                    WETH,
                    3000,
                    6 * 10**13,
                    2 * 10**22,
                    10**18,
                    0,
                    False,
                ),
            ),
            prices=(
                Price(WETH, 3_000 * E8, 10**18, "chainlink:ETH/USD", NOW),
                Price(USDC, E8, 10**6, "chainlink:USDC/USD", NOW),
                Price(WBTC, 60_000 * E8, 10**8, "chainlink:BTC/USD", NOW),
            ),
            priority_fee_wei=GWEI,
        ),
        **changes,
    )


def valuation(of: Snapshot) -> Valuation:
    lp = LpDetail(USDC_WETH, 10**15, 5, 6, 7, None, None, None)
    return Valuation(
        parent=digest(of),
        block_number=of.block.number,
        block_hash=of.block.hash,
        numeraire="USD",
        nav_e8=820_000 * E8,
        positions=(
            PositionValue("WETH", 300_000 * E8, 365_853, 400_000, -28_000 * E8, None),
            PositionValue("uniswap_v2:USDC/WETH", 9, 1, 0, 9, lp),
        ),
        exposures=(Exposure("WETH", 100 * 10**18, 300_000 * E8, 365_853),),
        native_value_e8=15_000 * E8,
    )


def legs() -> tuple[SwapLeg, ...]:
    """USDC buys WETH; USDC buys WBTC through WETH, in two legs of which the second is chained."""
    return (
        SwapLeg(
            USDC_WETH,
            "uniswap_v2",
            USDC,
            WETH,
            3000,
            30_000 * 10**6,
            9_950 * 10**15,
            9_900 * 10**15,
            False,
        ),
        SwapLeg(
            USDC_WETH,
            "uniswap_v2",
            USDC,
            WETH,
            3000,
            60_000 * 10**6,
            19_800 * 10**15,
            19_700 * 10**15,
            False,
        ),
        SwapLeg(
            WBTC_WETH, "uniswap_v2", WETH, WBTC, 3000, 19_800 * 10**15, 98_000_000, 97_500_000, True
        ),
    )


def plan(of: Snapshot, **changes: Any) -> Plan:
    return replace(
        Plan(
            parent=digest(valuation(of)),
            policy="0" * 64,
            chain_id=of.block.chain_id,
            block_number=of.block.number,
            block_hash=of.block.hash,
            wallet=of.wallet,
            numeraire="USD",
            legs=legs(),
            net=(
                Amount(USDC, -90_000 * 10**6),
                Amount(WETH, 9_950 * 10**15),
                Amount(WBTC, 98_000_000),
            ),
            positions=(ExpectedPosition("WETH", 365_853, 400_000, 399_990),),
            nav_before_e8=820_000 * E8,
            nav_after_e8=819_700 * E8,
            costs=Costs(90_000 * E8, 270 * E8, 30 * E8, 0, 15 * E8, 315 * E8, 290_000, 21 * GWEI),
            benefit_e8=900 * E8,
            slippage_ppm=5_000,
            max_fee_wei=100 * GWEI,
            deadline_ts=of.block.timestamp + 300,
            max_age_blocks=5,
        ),
        **changes,
    )


def order(of: Plan, **changes: Any) -> Order:
    """Four slices of up to 200,000 USDC together, one a minute, by consent of nobody."""
    seen = snapshot(of.block_number)
    return replace(
        Order(
            portfolio="main",
            plan=digest(of),
            chain_id=of.chain_id,
            wallet=of.wallet,
            numeraire="USD",
            block_number=of.block_number,
            block_hash=of.block_hash,
            sells=(Amount(USDC, 200_000 * 10**6),),
            prices=seen.prices,
            worst_ppm=50_000,
            max_cost_e8=2_000 * E8,
            whole=of.costs,
            sliced=of.costs,
            slices=4,
            clock="seconds",
            every=60,
            opened_at=seen.block.timestamp,
            expires_at=seen.block.timestamp + 480,
            needs_consent=False,
        ),
        **changes,
    )


def rebalance(of: Snapshot, **changes: Any) -> Rebalance:
    made = plan(of, **changes)
    reasons = (Reason("drift_ppm", "WETH is 3.4 points below its target", 34_147, 30_000),)
    return Rebalance(made.parent, made.block_number, made.block_hash, reasons, (), made)


def hold(of: Snapshot) -> Hold:
    reasons = (Reason("in_band_ppm", "every position is inside its band", 1, 30_000),)
    return Hold(digest(valuation(of)), of.block.number, of.block.hash, reasons)


def signed(purpose: str, nonce: int, salt: str = "") -> SignedTransaction:
    raw = b"\x02" + f"{purpose} {nonce} {salt}".encode()
    return SignedTransaction(
        tx_hash="0x" + keccak(raw).hex(),
        purpose=purpose,
        sender=WALLET,
        to=USDC.address if purpose == "approve" else EXECUTOR,
        nonce=nonce,
        gas_limit=400_000,
        max_fee_wei=60 * GWEI,
        max_priority_fee_wei=GWEI,
        data="0x" + "ab" * 40,
        raw="0x" + raw.hex(),
    )


def bundle(of: Plan, *transactions: SignedTransaction) -> Bundle:
    return Bundle(
        plan_id=digest(of),
        chain_id=of.chain_id,
        wallet=of.wallet,
        deadline_ts=of.deadline_ts,
        transactions=transactions or (signed("approve", 7), signed("execute", 8)),
    )


def fills(of: Plan) -> tuple[Fill, ...]:
    return tuple(
        Fill(index, leg.pair, leg.token_in, leg.token_out, leg.amount_in, leg.amount_out)
        for index, leg in enumerate(of.legs)
    )


def outcome(of: SignedTransaction, number: int = 101, **changes: Any) -> TransactionOutcome:
    """A success without fills; 46,162 gas at 21 gwei."""
    return replace(
        TransactionOutcome(
            tx_hash=of.tx_hash,
            purpose=of.purpose,
            block_number=number,
            block_hash=block_hash(number),
            status=1,
            gas_used=46_162,
            effective_gas_price_wei=21 * GWEI,
            components=(
                GasComponent("intrinsic", 21_000),
                GasComponent("calldata", 640),
                GasComponent("approval", 24_522),
            ),
            fills=(),
        ),
        **changes,
    )


def executed(of: Plan, transaction: SignedTransaction, number: int = 101) -> TransactionOutcome:
    """The plan carried out to the unit; 279,017 gas at 21 gwei and 7 wei."""
    return outcome(
        transaction,
        number,
        gas_used=279_017,
        effective_gas_price_wei=21 * GWEI + 7,
        components=(
            GasComponent("intrinsic", 21_000),
            GasComponent("calldata", 4_017),
            GasComponent("transfers", 90_000),
            GasComponent("swaps", 160_000),
            GasComponent("executor", 14_000),
            GasComponent("refund", -10_000),
        ),
        fills=fills(of),
    )


class Clock:
    """Unix seconds that move by one at each look."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        self.now += 1
        return self.now


def open_ledger(folder: Path, clock: Callable[[], int] | None = None, **options: Any) -> Ledger:
    return Ledger.open(folder / "ledger.db", clock or Clock(), **options)


def decide(ledger: Ledger, at: int = 100, portfolio: str = "main", **changes: Any) -> Plan:
    """Record the decision to execute a plan made at block ``at``; returns the plan."""
    seen = snapshot(at)
    decision = rebalance(seen, **changes)
    ledger.record_decision(portfolio, "execute", seen, valuation(seen), decision)
    return decision.plan


def execute(ledger: Ledger, at: int = 100, portfolio: str = "main", nonce: int = 7) -> Plan:
    """A whole rebalance: decided, stored, sent, and both transactions mined in the next block."""
    made = decide(ledger, at, portfolio)
    approve, run = signed("approve", nonce), signed("execute", nonce + 1)
    ledger.store_bundle(made, bundle(made, approve, run))
    for transaction in (approve, run):
        ledger.record_sent(transaction.tx_hash)
    ledger.record_outcome(outcome(approve, at + 1))
    ledger.record_outcome(executed(made, run, at + 1))
    return made
