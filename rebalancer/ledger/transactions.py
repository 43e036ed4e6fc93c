"""One transaction of the ledger against its receipt, and against its plan."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from rebalancer.ledger.chain import ChainTransaction, Receipt, StepEvent
from rebalancer.ledger.findings import Finding
from rebalancer.ledger.moves import all_taken
from rebalancer.ledger.queries import TransactionRecord
from rebalancer.ledger.safes import sender_of, trader_of
from rebalancer.model import (
    Amount,
    Fill,
    Leg,
    Plan,
    SignedTransaction,
    Token,
    TransactionOutcome,
    contract_of,
)


def check_record(
    record: TransactionRecord, outcome: TransactionOutcome, plan: Plan
) -> Iterator[Finding]:
    """What the record says about itself: gas adds up, fills are those of the plan."""
    total = sum(component.gas for component in outcome.components)
    if total != outcome.gas_used:
        text = f"the gas components add up to {total}, not to {outcome.gas_used}"
        yield _amount(record, "gas-components", text, outcome.gas_used, total)
    if outcome.purpose != record.purpose:
        text = f"the outcome is of an {outcome.purpose}, the transaction an {record.purpose}"
        yield _differs(record, "purpose", text, record.purpose, outcome.purpose)
    filled = [fill.index for fill in outcome.fills]
    wanted = list(range(len(plan.legs))) if _should_fill(record, outcome) else []
    if filled != wanted:
        text = f"legs {wanted} should be filled, legs {filled} are"
        yield _differs(record, "legs", text, str(wanted), str(filled))
        return
    for fill in outcome.fills:
        leg: Leg = plan.legs[fill.index]
        filled_by = (fill.pair, _tokens(fill.takes), _tokens(fill.pays))
        asked = (contract_of(leg), _tokens(all_taken(leg)), _tokens(leg.pays))
        if filled_by != asked:
            text = f"leg {fill.index} was filled on another pair or with other tokens"
            yield _differs(record, "leg", text, contract_of(leg), fill.pair)
            continue
        for paid, least in zip(fill.pays, leg.least, strict=True):
            if paid.raw < least.raw:
                text = f"leg {fill.index} paid {paid.raw}, less than its minimum"
                yield _amount(record, "below-minimum", text, least.raw, paid.raw)


def check_mined(
    record: TransactionRecord,
    outcome: TransactionOutcome,
    receipt: Receipt | None,
    known: ChainTransaction | None,
    canonical_hash: str | None,
    signed: SignedTransaction,
    plan: Plan,
) -> Iterator[Finding]:
    """What the ledger calls mined against the chain."""
    if canonical_hash != outcome.block_hash:
        text = f"block {outcome.block_number} is another one now (reorganised away?)"
        yield _differs(record, "block-hash", text, outcome.block_hash, canonical_hash)
    if receipt is None:
        text = "the ledger says mined, the chain has no receipt"
        yield _differs(record, "receipt", text, outcome.block_hash, None)
        return
    if receipt.block_hash != outcome.block_hash:
        text = "it was mined in another block than the ledger says"
        yield _differs(record, "block", text, outcome.block_hash, receipt.block_hash)
    for code, expected, actual in (
        ("block-number", outcome.block_number, receipt.block_number),
        ("status", outcome.status, receipt.status),
        ("gas-used", outcome.gas_used, receipt.gas_used),
        ("gas-price", outcome.effective_gas_price_wei, receipt.effective_gas_price_wei),
    ):
        if expected != actual:
            text = f"{code} is {expected} in the ledger, {actual} on the chain"
            yield _amount(record, code, text, expected, actual)
    sender = sender_of(signed, record.wallet)
    if receipt.sender != sender.lower():
        yield _differs(record, "sender", "another wallet sent it", sender, receipt.sender)
    if known is None or known.nonce != record.nonce:
        text = "its nonce is another one on the chain"
        yield _differs(record, "nonce", text, record.nonce, known.nonce if known else None)
    trader = trader_of(signed, record.wallet, receipt.to)
    yield from _check_steps(record, outcome, receipt, trader, plan)


def check_unmined(
    record: TransactionRecord, receipt: Receipt | None, known: ChainTransaction | None
) -> Iterator[Finding]:
    """What the ledger calls open or dropped against the chain."""
    if receipt is not None:
        text = f"the ledger says {record.state}, the chain mined it in block {receipt.block_number}"
        text += "; the next `rebalancer rebalance --execute`, or keeper, records it"
        yield _differs(record, "mined-unrecorded", text, record.state, receipt.block_hash)
    elif record.state == "dropped" and known is not None:
        text = "the ledger says dropped, the node still holds it: it may be mined yet"
        yield _differs(record, "dropped-but-pending", text, record.state, "pending")


def _should_fill(record: TransactionRecord, outcome: TransactionOutcome) -> bool:
    return record.purpose == "execute" and outcome.status == 1


def _check_steps(
    record: TransactionRecord,
    outcome: TransactionOutcome,
    receipt: Receipt,
    trader: str,
    plan: Plan,
) -> Iterator[Finding]:
    """The fills against the steps that the called contract caused (``trader``) for the wallet.

    Others on the way (a token that trades when it is moved) are not ours.
    """
    ours = {plan.wallet.lower(), *(contract_of(leg).lower() for leg in plan.legs)}
    steps = [step for step in receipt.steps if _is_ours(step, trader, ours, plan.wallet.lower())]
    if len(steps) != len(outcome.fills):
        text = f"the ledger has {len(outcome.fills)} fills, the chain {len(steps)} steps"
        yield _amount(record, "fills", text, len(outcome.fills), len(steps))
        return
    for fill, step in zip(outcome.fills, steps, strict=True):
        kind = plan.legs[fill.index].kind if fill.index < len(plan.legs) else step.kind
        if (step.kind, step.contract) != (kind, fill.pair.lower()):
            text = f"leg {fill.index} was done on another pair, or is a {step.kind} there"
            yield _differs(record, "fill-pair", text, fill.pair, step.contract)
            continue
        paid, brought = _amounts(fill, step)
        if (len(paid), len(brought)) != (len(fill.takes), len(fill.pays)):
            text = f"leg {fill.index} moved another number of tokens"
            yield _differs(record, "fill-tokens", text, len(fill.takes), len(paid))
            continue
        for booked, actual in zip(fill.takes, paid, strict=True):
            if booked.raw != actual:
                text = f"leg {fill.index} paid {booked.raw} in the ledger, {actual} on chain"
                yield _amount(record, "fill-in", text, booked.raw, actual)
        for booked, actual in zip(fill.pays, brought, strict=True):
            if booked.raw != actual:
                text = f"leg {fill.index} got {booked.raw} by the ledger, {actual} by the chain"
                yield _amount(record, "fill-out", text, booked.raw, actual)


def _is_ours(step: StepEvent, trader: str, ours: Container[str], wallet: str) -> bool:
    """Asked for by the trader, and paid to the wallet, or on to a pair of the plan.

    Of ether that the wallet's own account wraps and unwraps (EIP-7702) no transfer need tell.
    """
    if step.sender != trader:
        return False
    if step.kind in ("wrap", "unwrap"):
        return step.contract in ours and (trader == wallet or step.party in ours)
    return step.party in ours


def _amounts(fill: Fill, step: StepEvent) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What went in and what came out; V2 pairs order their tokens by address."""
    match step.kind:
        case "swap":
            index_in = int(int(fill.token_in.address, 16) > int(fill.token_out.address, 16))
            return (step.words[index_in],), (step.words[2 + 1 - index_in],)
        case "add":
            return step.words, (step.shares,)
        case "remove":
            return (step.shares,), step.words
        case _:
            return step.words, step.words


def _tokens(amounts: Sequence[Amount]) -> tuple[Token, ...]:
    return tuple(amount.token for amount in amounts)


def _amount(record: TransactionRecord, code: str, text: str, expected: int, actual: int) -> Finding:
    return replace(_differs(record, code, text, expected, actual), difference=actual - expected)


def _differs(
    record: TransactionRecord,
    code: str,
    text: str,
    expected: int | str | None,
    actual: int | str | None,
) -> Finding:
    return Finding(
        code,
        f"{_name(record)}: {text}",
        tx_hash=record.tx_hash,
        plan_id=record.plan_id,
        block_number=record.outcome.block_number if record.outcome else None,
        expected=expected,
        actual=actual,
    )


def _name(record: TransactionRecord) -> str:
    return f"{record.purpose} {record.tx_hash[:12]}"
