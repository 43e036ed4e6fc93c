"""One transaction of the ledger against its receipt, and against its plan."""

from __future__ import annotations

from collections.abc import Iterator

from rebalancer.ledger.chain import ChainTransaction, Receipt, SwapEvent
from rebalancer.ledger.findings import Finding
from rebalancer.ledger.queries import TransactionRecord
from rebalancer.ledger.safes import sender_of, trader_of
from rebalancer.model import Fill, Plan, SignedTransaction, TransactionOutcome


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
        leg = plan.legs[fill.index]
        if (fill.pair, fill.token_in, fill.token_out) != (leg.pair, leg.token_in, leg.token_out):
            text = f"leg {fill.index} was filled on another pair or with other tokens"
            yield _differs(record, "leg", text, leg.pair, fill.pair)
        elif fill.amount_out < leg.min_amount_out:
            text = f"leg {fill.index} paid {fill.amount_out}, less than its minimum"
            yield _amount(record, "below-minimum", text, leg.min_amount_out, fill.amount_out)


def check_mined(
    record: TransactionRecord,
    outcome: TransactionOutcome,
    receipt: Receipt | None,
    known: ChainTransaction | None,
    canonical_hash: str | None,
    signed: SignedTransaction,
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
    yield from _check_swaps(record, outcome, receipt, trader)


def check_unmined(
    record: TransactionRecord, receipt: Receipt | None, known: ChainTransaction | None
) -> Iterator[Finding]:
    """What the ledger calls open or dropped against the chain."""
    if receipt is not None:
        text = f"the ledger says {record.state}, the chain mined it in block {receipt.block_number}"
        yield _differs(record, "mined-unrecorded", text, record.state, receipt.block_hash)
    elif record.state == "dropped" and known is not None:
        text = "the ledger says dropped, the node still holds it: it may be mined yet"
        yield _differs(record, "dropped-but-pending", text, record.state, "pending")


def _should_fill(record: TransactionRecord, outcome: TransactionOutcome) -> bool:
    return record.purpose == "execute" and outcome.status == 1


def _check_swaps(
    record: TransactionRecord, outcome: TransactionOutcome, receipt: Receipt, trader: str
) -> Iterator[Finding]:
    """The fills against the Swap events that the called contract caused (``trader``).

    Others on the way (a token that trades when it is moved) are not ours.
    """
    swaps = [swap for swap in receipt.swaps if swap.sender == trader]
    if len(swaps) != len(outcome.fills):
        text = f"the ledger has {len(outcome.fills)} fills, the chain {len(swaps)} swaps"
        yield _amount(record, "fills", text, len(outcome.fills), len(swaps))
        return
    for fill, swap in zip(outcome.fills, swaps, strict=True):
        if swap.pair != fill.pair.lower():
            text = f"leg {fill.index} was swapped on another pair"
            yield _differs(record, "fill-pair", text, fill.pair, swap.pair)
            continue
        amount_in, amount_out = _amounts(fill, swap)
        if fill.amount_in != amount_in:
            text = f"leg {fill.index} paid {fill.amount_in} in the ledger, {amount_in} on chain"
            yield _amount(record, "fill-in", text, fill.amount_in, amount_in)
        if fill.amount_out != amount_out:
            text = (
                f"leg {fill.index} got {fill.amount_out} by the ledger, {amount_out} by the chain"
            )
            yield _amount(record, "fill-out", text, fill.amount_out, amount_out)


def _amounts(fill: Fill, swap: SwapEvent) -> tuple[int, int]:
    """Amounts in and out of the fill's tokens; V2 pairs order their tokens by address."""
    index_in = int(int(fill.token_in.address, 16) > int(fill.token_out.address, 16))
    return swap.amounts_in[index_in], swap.amounts_out[1 - index_in]


def _amount(record: TransactionRecord, code: str, text: str, expected: int, actual: int) -> Finding:
    return Finding(
        code,
        f"{_name(record)}: {text}",
        tx_hash=record.tx_hash,
        plan_id=record.plan_id,
        block_number=record.outcome.block_number if record.outcome else None,
        expected=expected,
        actual=actual,
        difference=actual - expected,
    )


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
