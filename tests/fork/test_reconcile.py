"""Real swaps on a real EVM, reconciled to the wei: through the fork, and through a fork of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rebalancer.bundler.executor import EXECUTOR_ADDRESS, deployment_call, encode_execute
from rebalancer.bundler.signer import LocalSigner
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY, dev_key
from rebalancer.devchain.anvil import AnvilOptions, start_anvil
from rebalancer.devchain.cheats import Call, call_of, mine_block, view
from rebalancer.devchain.fork import DevChain
from rebalancer.evm.abi import encode_call, to_hex
from rebalancer.ledger.gas_audit import gas_audit
from rebalancer.ledger.reconcile import reconcile
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    E8,
    Amount,
    BlockRef,
    Bundle,
    Costs,
    Fill,
    GasComponent,
    LpHolding,
    Plan,
    Price,
    Rebalance,
    SignedTransaction,
    Snapshot,
    SwapLeg,
    Token,
    TransactionOutcome,
    Valuation,
    digest,
)

GWEI = 10**9
STRANGER = ARBITRAGEUR
USDC_LP = m.UNISWAP_V2.pair_address(m.USDC, m.WETH)
APPROVED = 60_000 * 10**6


@dataclass
class World:
    """The treasury about to trade: the chain, an open ledger, and the plan."""

    chain: DevChain
    ledger: Ledger
    plan: Plan

    def settle(self, others: Sequence[dict[str, Any]] = ()) -> list[TransactionOutcome]:
        """Approve and execute in one block together with what ``others`` send; record it all."""
        rpc = self.chain.rpc
        nonce = int(rpc.call("eth_getTransactionCount", TREASURY, "latest"), 16)
        approve = encode_call("approve(address,uint256)", EXECUTOR_ADDRESS, APPROVED)
        execute = encode_execute(self.plan.legs, self.plan.deadline_ts)
        transactions = (
            _sign("approve", nonce, m.USDC.address, approve),
            _sign("execute", nonce + 1, EXECUTOR_ADDRESS, execute),
        )
        bundle = Bundle(digest(self.plan), 1, TREASURY, self.plan.deadline_ts, transactions)
        self.ledger.store_bundle(self.plan, bundle)
        rpc.call("evm_setAutomine", False)
        for transaction in transactions:
            assert rpc.call("eth_sendRawTransaction", transaction.raw) == transaction.tx_hash
            self.ledger.record_sent(transaction.tx_hash)
        for other in others:
            rpc.call("eth_sendTransaction", other)
        rpc.call("evm_mine")
        rpc.call("evm_setAutomine", True)
        receipts = rpc.call("eth_getBlockReceipts", "latest")
        assert [int(receipt["status"], 16) for receipt in receipts] == [1] * (2 + len(others))
        outcomes = [self._outcome(transaction) for transaction in transactions]
        for outcome in outcomes:
            self.ledger.record_outcome(outcome)
        return outcomes

    def _outcome(self, transaction: SignedTransaction) -> TransactionOutcome:
        receipt = self.chain.rpc.call("eth_getTransactionReceipt", transaction.tx_hash)
        gas_used = int(receipt["gasUsed"], 16)
        # Nothing else trades, so the fills are the plan's to the unit.
        fills = tuple(
            Fill(index, leg.pair, leg.token_in, leg.token_out, leg.amount_in, leg.amount_out)
            for index, leg in enumerate(self.plan.legs)
        )
        return TransactionOutcome(
            tx_hash=transaction.tx_hash,
            purpose=transaction.purpose,
            block_number=int(receipt["blockNumber"], 16),
            block_hash=receipt["blockHash"],
            status=int(receipt["status"], 16),
            gas_used=gas_used,
            effective_gas_price_wei=int(receipt["effectiveGasPrice"], 16),
            components=(
                GasComponent("intrinsic", 21_000),
                GasComponent("execution", gas_used - 21_000),
            ),
            fills=fills if transaction.purpose == "execute" else (),
        )


@pytest.fixture
def world(devchain: DevChain, tmp_path: Path) -> Iterator[World]:
    to, data = deployment_call()
    mine_block(devchain.rpc, STRANGER, [Call(to, to_hex(data), gas_limit=3_000_000)])
    with Ledger.open(tmp_path / "ledger.db", lambda: 1_750_000_000) as ledger:
        snapshot, valuation, decision = _decision(devchain)
        ledger.record_decision("treasury", "execute", snapshot, valuation, decision)
        yield World(devchain, ledger, decision.plan)


def test_swaps_reconcile_to_the_wei_beside_strangers_in_the_same_block(world: World) -> None:
    usdc, weth = m.USDC.address, m.WETH.address
    gift = encode_call("transfer(address,uint256)", TREASURY, 1_234_567)
    to_self = encode_call("transfer(address,uint256)", TREASURY, 10**18)
    outcomes = world.settle(
        [
            _unlocked(STRANGER, usdc, gift),
            _unlocked(STRANGER, TREASURY, value=77),
            # The owner uses the wallet by hand, too.
            _unlocked(TREASURY, weth, to_self),
            _unlocked(TREASURY, STRANGER, value=5),
        ]
    )
    rpc = world.chain.rpc
    result = reconcile(world.ledger, rpc)
    assert result.findings == ()
    assert result.notes == ()
    assert (result.transactions, result.blocks) == (2, 1)
    audit = gas_audit(world.ledger)
    assert audit.totals[0].cost_wei == sum(outcome.gas_cost_wei for outcome in outcomes)

    # The same through a second fork, which has to ask the first one for the past.
    rpc.call("anvil_mine", "0x2")
    with start_anvil(AnvilOptions(fork_url=world.chain.url)) as second:
        assert reconcile(world.ledger, second.rpc).findings == ()

    # One unit more or less anywhere, and it is found.
    truth = outcomes[1]
    for lie, found in (
        (replace(truth, gas_used=truth.gas_used + 1), {"gas-used", "native-balance"}),
        (_with_fill(truth, 0, amount_out=truth.fills[0].amount_out + 1), {"token-balance"}),
        (_with_fill(truth, 1, amount_out=truth.fills[1].amount_out - 1), {"fill-out"}),
        (_with_fill(truth, 2, amount_out=truth.fills[2].amount_out - 1), {"token-balance"}),
        (replace(truth, status=0, fills=()), {"status", "fills", "token-balance"}),
    ):
        world.ledger.record_outcome(lie)
        assert found <= {finding.code for finding in reconcile(world.ledger, rpc).findings}
    world.ledger.record_outcome(truth)
    assert reconcile(world.ledger, rpc).ok


def test_a_gift_to_a_pair_before_our_swap_is_explained(world: World) -> None:
    rpc, leg = world.chain.rpc, world.plan.legs[0]
    mine_block(
        rpc,
        STRANGER,
        [call_of(leg.token_in.address, "transfer(address,uint256)", leg.pair, 17)],
    )
    _, truth = world.settle()
    # The pair's event counts the 17 units as paid in, and so would whoever reads it.
    assert "fill-in" in {f.code for f in reconcile(world.ledger, rpc).findings}
    world.ledger.record_outcome(_with_fill(truth, 0, amount_in=leg.amount_in + 17))
    result = reconcile(world.ledger, rpc)
    assert result.findings == ()
    assert [(note.code, note.difference) for note in result.notes] == [("gift-to-pair", 17)]


def test_a_reorganisation_is_noticed(world: World) -> None:
    world.settle()
    rpc = world.chain.rpc
    assert reconcile(world.ledger, rpc).ok
    rpc.call("anvil_reorg", 1, [])
    found = {finding.code for finding in reconcile(world.ledger, rpc).findings}
    assert found == {"receipt", "block-hash"}


def test_ether_that_no_log_tells_of_is_unexplained_to_the_wei(world: World) -> None:
    # Unwrapping pays by an internal call, and burns WETH without a Transfer event.
    unwrap = encode_call("withdraw(uint256)", 9)
    world.settle([_unlocked(TREASURY, m.WETH.address, unwrap)])
    findings = reconcile(world.ledger, world.chain.rpc).findings
    assert [(finding.code, finding.token, finding.difference) for finding in findings] == [
        ("token-balance", "WETH", -9),
        ("native-balance", None, 9),
    ]


def _decision(chain: DevChain) -> tuple[Snapshot, Valuation, Rebalance]:
    """USDC buys USDT, and WBTC through WETH; the router of Uniswap says for how much."""
    head = chain.rpc.call("eth_getBlockByNumber", "latest", False)
    block = BlockRef(
        chain_id=1,
        number=int(head["number"], 16),
        hash=head["hash"],
        timestamp=int(head["timestamp"], 16),
        base_fee_wei=int(head["baseFeePerGas"], 16),
    )
    prices = tuple(
        Price(token, e8 * E8, 10**token.decimals, "by hand", block.timestamp)
        for token, e8 in ((m.WETH, 3_000), (m.USDC, 1), (m.USDT, 1), (m.WBTC, 60_000))
    )
    snapshot = Snapshot(
        block=block,
        wallet=TREASURY,
        numeraire="USD",
        native=prices[0],
        native_wei=10**18,
        balances=tuple(Amount(price.token, 0) for price in prices),
        holdings=(LpHolding(USDC_LP, 1, None),),
        pairs=(),
        prices=prices,
        priority_fee_wei=GWEI,
    )
    valuation = Valuation(
        digest(snapshot), block.number, block.hash, "USD", 10**6 * E8, (), (), 3_000 * E8
    )
    legs = (
        *_route(chain, 20_000 * 10**6, m.USDC, m.USDT),
        *_route(chain, 40_000 * 10**6, m.USDC, m.WETH, m.WBTC),
    )
    plan = Plan(
        parent=digest(valuation),
        policy="0" * 64,
        chain_id=1,
        block_number=block.number,
        block_hash=block.hash,
        wallet=TREASURY,
        numeraire="USD",
        legs=legs,
        net=(
            Amount(m.USDC, -APPROVED),
            Amount(m.USDT, legs[0].amount_out),
            Amount(m.WBTC, legs[2].amount_out),
        ),
        positions=(),
        nav_before_e8=10**6 * E8,
        nav_after_e8=10**6 * E8,
        costs=Costs(60_000 * E8, 0, 0, 0, 0, 0, 300_000, 21 * GWEI),
        benefit_e8=0,
        slippage_ppm=0,
        max_fee_wei=100 * GWEI,
        deadline_ts=block.timestamp + 3_600,
        max_age_blocks=5,
    )
    return snapshot, valuation, Rebalance(plan.parent, block.number, block.hash, (), (), plan)


def _route(chain: DevChain, amount_in: int, *tokens: Token) -> Iterator[SwapLeg]:
    path = [token.address for token in tokens]
    quote = "getAmountsOut(uint256,address[])"
    (amounts,) = view(chain.rpc, m.UNISWAP_ROUTER02, quote, ["uint256[]"], amount_in, path)
    for hop in range(len(tokens) - 1):
        token_in, token_out = tokens[hop], tokens[hop + 1]
        pair = m.UNISWAP_V2.pair_address(token_in, token_out)
        out = amounts[hop + 1]
        yield SwapLeg(
            pair, "uniswap_v2", token_in, token_out, 3_000, amounts[hop], out, out, hop > 0
        )


def _sign(purpose: str, nonce: int, to: str, data: bytes) -> SignedTransaction:
    key = dev_key(TREASURY)
    assert key is not None
    gas_limit, max_fee_wei = 600_000, 100 * GWEI
    raw, tx_hash = LocalSigner.from_key(key).sign(
        {
            "type": 2,
            "chainId": 1,
            "nonce": nonce,
            "to": to,
            "value": 0,
            "gas": gas_limit,
            "maxFeePerGas": max_fee_wei,
            "maxPriorityFeePerGas": GWEI,
            "data": to_hex(data),
        }
    )
    return SignedTransaction(
        tx_hash, purpose, TREASURY, to, nonce, gas_limit, max_fee_wei, GWEI, to_hex(data), raw
    )


def _unlocked(sender: str, to: str, data: bytes = b"", value: int = 0) -> dict[str, Any]:
    """A transaction of an account whose key the node has."""
    return {
        "from": sender,
        "to": to,
        "data": to_hex(data),
        "value": hex(value),
        "gas": hex(100_000),
        "maxFeePerGas": hex(100 * GWEI),
        "maxPriorityFeePerGas": hex(GWEI),
    }


def _with_fill(outcome: TransactionOutcome, number: int, **changes: Any) -> TransactionOutcome:
    fills = list(outcome.fills)
    fills[number] = replace(fills[number], **changes)
    return replace(outcome, fills=tuple(fills))
