"""What the bundler's fork tests share: plans made by hand, journals, and RPCs that misbehave."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rebalancer.amm.swap import apply_swap
from rebalancer.bundler.follow import Pace
from rebalancer.bundler.signer import LocalSigner
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY, dev_key
from rebalancer.devchain.cheats import call_of, mine_block, view
from rebalancer.errors import RpcUnavailable
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import (
    PPM,
    Amount,
    Bundle,
    Costs,
    PairState,
    Plan,
    SignedTransaction,
    SwapLeg,
    Token,
    TransactionOutcome,
    mul_div_down,
)

GWEI = 10**9
FEE_PPM = 3_000


def signer_of(address: str = TREASURY) -> LocalSigner:
    key = dev_key(address)
    assert key is not None
    return LocalSigner.from_key(key)


def pace(silence_s: float = 20.0) -> Pace:
    return Pace(clock=time.monotonic, sleep=time.sleep, poll_s=0.01, silence_s=silence_s)


@dataclass(frozen=True)
class Trade:
    """One leg to plan; ``amount_in`` None chains it to the leg before."""

    token_in: Token
    token_out: Token
    amount_in: int | None = None


def make_plan(
    rpc: Rpc,
    network: Network,
    trades: Sequence[Trade],
    *,
    wallet: str = TREASURY,
    slippage_ppm: int = 5_000,
    max_fee_wei: int = 300 * GWEI,
    deadline_s: int = 600,
    max_age_blocks: int = 5,
) -> Plan:
    """A plan on the head whose amounts are exact if nothing else trades."""
    head = rpc.call("eth_getBlockByNumber", "latest", False)
    pairs: dict[str, PairState] = {}
    legs: list[SwapLeg] = []
    for trade in trades:
        address = network.amms["uniswap_v2"].pair_address(trade.token_in, trade.token_out)
        pair = pairs.get(address) or read_pair(rpc, address, trade.token_in, trade.token_out)
        amount_in = legs[-1].amount_out if trade.amount_in is None else trade.amount_in
        pairs[address], amount_out = apply_swap(pair, trade.token_in, amount_in)
        least = mul_div_down(amount_out, PPM - slippage_ppm, PPM)
        chained = trade.amount_in is None
        legs.append(
            SwapLeg(
                address,
                "uniswap_v2",
                trade.token_in,
                trade.token_out,
                FEE_PPM,
                amount_in,
                amount_out,
                least,
                chained,
            )
        )
    return Plan(
        parent="a" * 64,
        policy="b" * 64,
        chain_id=network.chain_id,
        block_number=int(head["number"], 16),
        block_hash=head["hash"],
        wallet=wallet,
        numeraire="USD",
        legs=tuple(legs),
        net=_net(legs),
        positions=(),
        nav_before_e8=0,
        nav_after_e8=0,
        costs=Costs(0, 0, 0, 0, 0, 0, 0, 0),
        benefit_e8=0,
        slippage_ppm=slippage_ppm,
        max_fee_wei=max_fee_wei,
        deadline_ts=int(head["timestamp"], 16) + deadline_s,
        max_age_blocks=max_age_blocks,
    )


def read_pair(rpc: Rpc, address: str, a: Token, b: Token) -> PairState:
    token0, token1 = (a, b) if int(a.address, 16) < int(b.address, 16) else (b, a)
    types = ["uint112", "uint112", "uint32"]
    reserve0, reserve1, _ = view(rpc, address, "getReserves()", types)
    return PairState(
        address, "uniswap_v2", token0, token1, FEE_PPM, reserve0, reserve1, 0, 0, False
    )


def balances(rpc: Rpc, tokens: Sequence[Token], wallet: str = TREASURY) -> dict[Token, int]:
    return {t: view(rpc, t.address, "balanceOf(address)", ["uint256"], wallet)[0] for t in tokens}


def allowance(rpc: Rpc, token: Token, spender: str, owner: str = TREASURY) -> int:
    signature = "allowance(address,address)"
    return int(view(rpc, token.address, signature, ["uint256"], owner, spender)[0])


def approve(rpc: Rpc, token: Token, spender: str, amount: int, owner: str = TREASURY) -> None:
    call = call_of(token.address, "approve(address,uint256)", spender, amount)
    mine_block(rpc, owner, [call])


def give(rpc: Rpc, token: Token, amount: int, wallet: str = TREASURY) -> None:
    """Tokens from the arbitrageur, who has plenty."""
    call = call_of(token.address, "transfer(address,uint256)", wallet, amount)
    mine_block(rpc, ARBITRAGEUR, [call])


def trade_against(rpc: Rpc, network: Network, token_in: Token, token_out: Token, raw: int) -> None:
    """Somebody else swaps ``raw`` of ``token_in`` on the pair, straight on the contract."""
    address = network.amms["uniswap_v2"].pair_address(token_in, token_out)
    _, amount_out = apply_swap(read_pair(rpc, address, token_in, token_out), token_in, raw)
    out = (
        (0, amount_out)
        if int(token_in.address, 16) < int(token_out.address, 16)
        else (amount_out, 0)
    )
    swap = "swap(uint256,uint256,address,bytes)"
    mine_block(
        rpc,
        ARBITRAGEUR,
        [
            call_of(token_in.address, "transfer(address,uint256)", address, raw),
            call_of(address, swap, *out, ARBITRAGEUR, b""),
        ],
    )


def nonce_of(rpc: Rpc, wallet: str = TREASURY) -> int:
    return int(rpc.call("eth_getTransactionCount", wallet, "latest"), 16)


def _net(legs: Sequence[SwapLeg]) -> tuple[Amount, ...]:
    totals: dict[Token, int] = {}
    for leg in legs:
        totals[leg.token_in] = totals.get(leg.token_in, 0) - leg.amount_in
        totals[leg.token_out] = totals.get(leg.token_out, 0) + leg.amount_out
    return tuple(Amount(token, raw) for token, raw in totals.items() if raw)


@dataclass
class MemoryJournal:
    """The bundler's journal in memory; ``events`` is what was said, in order."""

    bundles: list[tuple[Plan, Bundle]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    outcomes: dict[str, TransactionOutcome] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    def store_bundle(self, plan: Plan, bundle: Bundle) -> None:
        self.bundles.append((plan, bundle))
        self.events += [("stored", tx.tx_hash) for tx in bundle.transactions]
        self.keep()

    def store_version(self, bundle: Bundle, replaced: str) -> None:
        (version,) = bundle.transactions
        plan = next(plan for plan, known in self.bundles if known.plan_id == bundle.plan_id)
        self.bundles.append((plan, bundle))
        self.events.append(("stored", version.tx_hash))
        kind = "cancelled" if version.purpose == "cancel" else "replaced"
        self._event(kind, replaced)

    def record_sent(self, tx_hash: str, via: str = "") -> None:
        self._event("sent", tx_hash)

    def record_outcome(self, outcome: TransactionOutcome) -> None:
        self.outcomes[outcome.tx_hash] = outcome
        self.closed.discard(outcome.tx_hash)
        self._event("mined", outcome.tx_hash)

    def record_reorged(self, tx_hash: str, note: str) -> None:
        del self.outcomes[tx_hash]
        self._event("reorged", tx_hash)

    def record_confirmed(self, tx_hash: str, note: str) -> None:
        assert tx_hash in self.outcomes
        self.closed.add(tx_hash)
        self._event("confirmed", tx_hash)

    def recorded_outcome(self, tx_hash: str) -> TransactionOutcome | None:
        return self.outcomes.get(tx_hash)

    def was_sent(self, tx_hash: str) -> bool:
        return ("sent", tx_hash) in self.events

    def find(self, tx_hash: str) -> tuple[Plan, SignedTransaction] | None:
        for plan, bundle in self.bundles:
            for transaction in bundle.transactions:
                if transaction.tx_hash == tx_hash:
                    return plan, transaction
        return None

    def record_dropped(self, tx_hash: str, reason: str) -> None:
        assert reason
        self.closed.add(tx_hash)
        self._event("dropped", tx_hash)

    def open_bundles(self, chain_id: int, wallet: str) -> Sequence[tuple[Plan, Bundle]]:
        found: dict[str, tuple[Plan, Bundle]] = {}
        for plan, bundle in self.bundles:
            left = tuple(tx for tx in bundle.transactions if tx.tx_hash not in self.closed)
            if left and (bundle.chain_id, bundle.wallet) == (chain_id, wallet):
                before = found[bundle.plan_id][1].transactions if bundle.plan_id in found else ()
                every = sorted((*before, *left), key=lambda tx: tx.nonce)
                found[bundle.plan_id] = plan, replace(bundle, transactions=tuple(every))
        return list(found.values())

    def given_up(self, chain_id: int, wallet: str) -> Sequence[tuple[Plan, SignedTransaction]]:
        last = {tx_hash: kind for kind, tx_hash in self.events}
        stored = [(plan, tx) for plan, bundle in self.bundles for tx in bundle.transactions]
        used = {(tx.sender, tx.nonce) for _, tx in stored if tx.tx_hash in self.outcomes}
        return [
            (plan, tx)
            for plan, tx in stored
            if last[tx.tx_hash] == "dropped" and (tx.sender, tx.nonce) not in used
        ]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def keep(self) -> None:
        """Nothing to keep in memory."""

    def _event(self, kind: str, tx_hash: str) -> None:
        assert any(tx_hash == known for _, known in self.events), "never stored"
        self.events.append((kind, tx_hash))
        self.keep()


@dataclass
class FileJournal(MemoryJournal):
    """The same, on disk before any method returns: it outlives a killed process."""

    path: Path = Path()

    @classmethod
    def open(cls, path: Path) -> FileJournal:
        if not path.exists():
            return cls(path=path)
        journal = pickle.loads(path.read_bytes())  # noqa: S301 - written by this test
        assert isinstance(journal, cls)
        return journal

    def keep(self) -> None:
        draft = self.path.with_suffix(".draft")
        with draft.open("wb") as file:
            pickle.dump(self, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)


@dataclass
class Hooked:
    """An Rpc that runs ``before`` and ``after`` each call of ``method``; counts those calls."""

    inner: Rpc
    method: str
    before: Callable[[int], None] = lambda count: None
    after: Callable[[int], None] = lambda count: None
    count: int = 0

    def call(self, method: str, *params: Any) -> Any:
        if method != self.method:
            return self.inner.call(method, *params)
        self.count += 1
        self.before(self.count)
        result = self.inner.call(method, *params)
        self.after(self.count)
        return result

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return self.inner.batch(calls)


def lost(count: int) -> None:
    """As if the connection broke."""
    raise RpcUnavailable("the connection was lost")


def lost_once(count: int) -> None:
    if count == 1:
        lost(count)


def unsupported(count: int) -> None:
    raise RpcError("eth_simulateV1", -32601, "the method does not exist")
