"""The ledger against the chain, to the wei; the ledger against itself first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rebalancer.errors import ChainMismatch
from rebalancer.evm.rpc import Rpc
from rebalancer.ledger.balances import OurTransaction, check_block
from rebalancer.ledger.chain import Chain, ChainTransaction, Receipt
from rebalancer.ledger.findings import Finding
from rebalancer.ledger.integrity import check_integrity
from rebalancer.ledger.moves import natives_of
from rebalancer.ledger.queries import (
    TransactionRecord,
    plans,
    signed,
    snapshot_of_plan,
    transactions,
)
from rebalancer.ledger.safes import sender_of, trader_of
from rebalancer.ledger.store import Ledger
from rebalancer.ledger.transactions import check_mined, check_record, check_unmined
from rebalancer.model import Leg, Plan, SignedTransaction, Snapshot, Token


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared, and what did not agree.

    ``transactions`` and ``blocks`` were compared (the latter for balances); ``elsewhere`` counts
    transactions of other chains, which this endpoint cannot know. ``notes`` are explained.
    """

    chain_id: int
    head: int
    transactions: int
    blocks: int
    elsewhere: int
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.findings


def reconcile(ledger: Ledger, rpc: Rpc, portfolio: str | None = None) -> Reconciliation:
    """Compare every transaction (of one portfolio) and the balances around it with the chain.

    A damaged ledger is reported as such and not compared. Raises ReadError when the node cannot
    answer, ChainMismatch when it serves none of the chains of the transactions; a finding is not
    raised: that is for the caller.
    """
    chain = Chain(rpc)
    chain_id, head = chain.chain_id(), chain.head()
    damage = check_integrity(ledger)
    if damage:
        return Reconciliation(chain_id, head, 0, 0, 0, tuple(damage), ())

    selected = transactions(ledger, portfolio)
    here = [record for record in selected if record.chain_id == chain_id]
    if selected and not here:
        raise ChainMismatch(
            f"the RPC endpoint serves chain {chain_id}, the ledger's transactions are on "
            f"chain {selected[0].chain_id}",
            hint="reconcile through an endpoint of that chain",
        )
    # Balances need all that we did to a wallet, whichever portfolio it was for.
    all_here = [record for record in transactions(ledger) if record.chain_id == chain_id]
    facts = _Facts(
        plans=plans(ledger, {record.plan_id for record in all_here}),
        signed=signed(ledger, all_here),
        receipts=chain.receipts([record.tx_hash for record in all_here]),
        known=chain.transactions([record.tx_hash for record in here]),
        canonical=chain.canonical_hashes(
            sorted({record.outcome.block_number for record in all_here if record.outcome})
        ),
    )
    findings = [finding for record in here for finding in _check(record, facts)]
    findings += _check_nonces(chain, here, all_here, facts, head)
    wallets = _wallet_blocks(here)
    notes: list[Finding] = []
    blocks = 0
    for wallet, number in wallets:
        mine = [record for record in all_here if _is_in(record, wallet, number)]
        ours = _ours(mine, facts)
        if ours is None:
            continue  # reported above
        snapshots = [snapshot_of_plan(ledger, record.plan_id) for record in mine]
        tokens = _tokens([item.plan for item in ours], snapshots)
        found, noted = check_block(chain, wallet, chain.block(number), ours, tokens)
        findings += found
        notes += noted
        blocks += 1
    return Reconciliation(
        chain_id=chain_id,
        head=head,
        transactions=len(here),
        blocks=blocks,
        elsewhere=len(selected) - len(here),
        findings=tuple(findings),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """Plans by id, receipts and transactions by hash, canonical block hashes by number.

    ``signed`` are the transactions as the ledger has them, ``known`` as the chain does.
    """

    plans: Mapping[str, Plan]
    signed: Mapping[str, SignedTransaction]
    receipts: Mapping[str, Receipt | None]
    known: Mapping[str, ChainTransaction | None]
    canonical: Mapping[int, str | None]

    def sender(self, record: TransactionRecord) -> str:
        """Whose nonce a transaction has."""
        return sender_of(self.signed[record.tx_hash], record.wallet)


def _check(record: TransactionRecord, facts: _Facts) -> Iterator[Finding]:
    plan = facts.plans[record.plan_id]
    receipt, known = facts.receipts[record.tx_hash], facts.known[record.tx_hash]
    if record.outcome is None:
        yield from check_unmined(record, receipt, known)
        return
    yield from check_record(record, record.outcome, plan)
    canonical = facts.canonical[record.outcome.block_number]
    yield from check_mined(
        record, record.outcome, receipt, known, canonical, facts.signed[record.tx_hash], plan
    )


def _check_nonces(
    chain: Chain,
    here: Sequence[TransactionRecord],
    all_here: Sequence[TransactionRecord],
    facts: _Facts,
    head: int,
) -> Iterator[Finding]:
    """Nonces of transactions that may still be mined, or were, by the ledger, but are used up."""
    used = {
        (facts.sender(record), record.nonce)
        for record in all_here
        if facts.receipts[record.tx_hash]
    }
    senders = {facts.sender(record) for record in here}
    counts = {sender: chain.nonce(sender, head) for sender in senders}
    seen = set()
    for record in here:
        sender = facts.sender(record)
        slot = (sender, record.nonce)
        if record.state == "dropped" or slot in used or slot in seen:
            continue
        seen.add(slot)
        if counts[sender] <= record.nonce:
            continue
        decided_at = facts.plans[record.plan_id].block_number
        other = chain.mined_with_nonce(sender, record.nonce, decided_at, head)
        if other is not None and other.tx_hash in facts.receipts:
            continue  # ours after all; that its receipt is missing is reported above
        name = other.tx_hash if other else "a transaction that the ledger does not know"
        yield Finding(
            "nonce-taken",
            f"nonce {record.nonce} of {sender} was used by {name}",
            tx_hash=record.tx_hash,
            plan_id=record.plan_id,
            block_number=other.block_number if other else None,
            expected=record.tx_hash,
            actual=name,
        )


def _wallet_blocks(here: Sequence[TransactionRecord]) -> list[tuple[str, int]]:
    """Wallets and numbers of the blocks that hold our transactions, each once, in order."""
    found = {
        (record.wallet, record.outcome.block_number): None
        for record in here
        if record.outcome is not None
    }
    return list(found)


def _is_in(record: TransactionRecord, wallet: str, block_number: int) -> bool:
    outcome = record.outcome
    return outcome is not None and outcome.block_number == block_number and record.wallet == wallet


def _ours(records: Sequence[TransactionRecord], facts: _Facts) -> list[OurTransaction] | None:
    """Our transactions of one block; None unless the chain has them there, and fills their legs."""
    ours = []
    for record in records:
        outcome, receipt = record.outcome, facts.receipts[record.tx_hash]
        if outcome is None or receipt is None:
            return None
        if any(fill.index >= len(facts.plans[record.plan_id].legs) for fill in outcome.fills):
            return None
        hashes = {outcome.block_hash, receipt.block_hash, facts.canonical[outcome.block_number]}
        if len(hashes) > 1:
            return None
        trader = trader_of(facts.signed[record.tx_hash], record.wallet, receipt.to)
        plan, payer = facts.plans[record.plan_id], facts.sender(record)
        ours.append(OurTransaction(plan, outcome, receipt, payer, trader))
    return ours


def _tokens(plans_made: Sequence[Plan], snapshots: Sequence[Snapshot]) -> list[Token]:
    """Every token that the plans move or that the deciding snapshots hold, LP shares too."""
    tokens: dict[str, Token] = {}
    for plan in plans_made:
        legs: Sequence[Leg] = plan.legs
        moved = [amount for leg in legs for amount in (*leg.takes, *leg.pays)]
        natives = natives_of(plan)
        tokens |= {
            amount.token.address: amount.token
            for amount in (*moved, *plan.net)
            if amount.token not in natives
        }
    for snapshot in snapshots:
        tokens |= {amount.token.address: amount.token for amount in snapshot.balances}
        for holding in snapshot.holdings:
            name = f"LP {holding.pair}"
            tokens.setdefault(holding.pair, Token(holding.pair, name, 18))
    return list(tokens.values())
