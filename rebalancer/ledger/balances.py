"""A wallet across one block: what its balances did against what the ledger and the logs explain.

Per token, to the smallest unit:

    balance(block) - balance(parent) = our fills + transfers that are not ours + gifts to pairs

A gift is what a pair had above its reserves, or of its own shares: its events count that as paid
in, the wallet did not pay it. It is proven by our transaction's own Transfer events, and noted. Of
the native token:

    balance(block) - balance(parent) = -our gas - wrapped + unwrapped by us
                                       + transactions that are not ours + withdrawals

Ether that contracts pay in or out (internal calls) is in no log, and stays unexplained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rebalancer.ledger.chain import Block, Chain, Receipt
from rebalancer.ledger.findings import Finding
from rebalancer.ledger.moves import is_chained, natives_of, wallet_changes
from rebalancer.model import (
    Plan,
    Token,
    TransactionOutcome,
    UnwrapLeg,
    WrapLeg,
    contract_of,
    forwards,
)


@dataclass(frozen=True, slots=True)
class OurTransaction:
    """A transaction that the ledger calls mined, as the ledger and the chain know it.

    ``payer`` paid its gas: the wallet, or who sent a Safe's. ``trader``, lower case, is who asked
    pairs and wrapped ether for its steps: the executor, or the wallet itself.
    """

    plan: Plan
    outcome: TransactionOutcome
    receipt: Receipt
    payer: str
    trader: str


def check_block(
    chain: Chain, wallet: str, block: Block, ours: Sequence[OurTransaction], tokens: Sequence[Token]
) -> tuple[list[Finding], list[Finding]]:
    """Findings and notes about ``wallet`` in ``block``, in which ``ours`` are all of our own."""
    addresses = [token.address for token in tokens]
    native_before, before = chain.balances(wallet, addresses, block.parent_hash)
    native_after, after = chain.balances(wallet, addresses, block.hash)

    expected = _net_of_fills(ours)
    notes = []
    for item in ours:
        for (pair, paid_in), amount in _gifts(item, wallet).items():
            expected[paid_in] = expected.get(paid_in, 0) + amount
            notes.append(_gift_note(item, pair, paid_in, amount))
    own_hashes = {item.outcome.tx_hash for item in ours}
    for transfer in chain.transfers(wallet, addresses, block.hash):
        if transfer.tx_hash not in own_hashes:
            sign = (transfer.receiver == wallet.lower()) - (transfer.sender == wallet.lower())
            expected[transfer.token] = expected.get(transfer.token, 0) + sign * transfer.amount

    findings = []
    for token in tokens:
        actual = after[token.address] - before[token.address]
        wanted = expected.get(token.address.lower(), 0)
        if actual != wanted:
            findings.append(_unexplained(block, "token-balance", token.symbol, wanted, actual))
    wanted = _native_change(chain, wallet, block, ours)
    actual = native_after - native_before
    if actual != wanted:
        findings.append(_unexplained(block, "native-balance", None, wanted, actual))
    return findings, notes


def _net_of_fills(ours: Sequence[OurTransaction]) -> dict[str, int]:
    """Net change by token address (lower case), ether too."""
    net: dict[str, int] = {}
    for item in ours:
        for token, change in wallet_changes(item.plan, item.outcome.fills).items():
            address = token.address.lower()
            net[address] = net.get(address, 0) + change
    return net


def _gifts(item: OurTransaction, wallet: str) -> dict[tuple[str, str], int]:
    """What pairs counted as paid in beyond what the wallet paid them, by (pair, token).

    A leg that the one before pays is none of the wallet's; ether that a delegated wallet wraps for
    it is, by its transfers.
    """
    gifts: dict[tuple[str, str], int] = {}
    owner = wallet.lower()
    legs = item.plan.legs
    for fill in item.outcome.fills:
        leg = legs[fill.index]
        if isinstance(leg, WrapLeg) and forwards(legs, fill.index) and item.trader == owner:
            following = contract_of(legs[fill.index + 1]).lower()
            counted = [((following, leg.wrapped.address.lower()), fill.amount_out)]
        elif isinstance(leg, WrapLeg | UnwrapLeg) or is_chained(leg):
            continue
        else:
            pair = fill.pair.lower()
            counted = [((pair, taken.token.address.lower()), taken.raw) for taken in fill.takes]
        for key, amount in counted:
            gifts[key] = gifts.get(key, 0) + amount
    for transfer in item.receipt.transfers:
        key = (transfer.receiver, transfer.token)
        if key in gifts and transfer.sender == owner:
            gifts[key] -= transfer.amount
    # Less than was paid is no gift: a fee on transfer, or a lie; the balance will not add up.
    return {key: amount for key, amount in gifts.items() if amount > 0}


def _native_change(chain: Chain, wallet: str, block: Block, ours: Sequence[OurTransaction]) -> int:
    own_hashes = {item.outcome.tx_hash for item in ours}
    owner = wallet.lower()
    others = [
        tx
        for tx in block.transactions
        if tx.tx_hash not in own_hashes
        and (tx.sender == owner or (tx.to == owner and tx.value_wei))
    ]
    receipts: Mapping[str, Receipt | None] = chain.receipts([tx.tx_hash for tx in others])
    # What a Safe executes is paid by whoever sent it.
    change = -sum(item.outcome.gas_cost_wei for item in ours if item.payer.lower() == owner)
    net = _net_of_fills(ours)
    natives = {token.address.lower() for item in ours for token in natives_of(item.plan)}
    change += sum(net.get(native, 0) for native in natives)
    for tx in others:
        receipt = receipts[tx.tx_hash]
        if receipt is None:
            continue  # the node contradicts itself; the difference will show
        if receipt.status == 1:
            change += tx.value_wei * ((tx.to == owner) - (tx.sender == owner))
        if tx.sender == owner:
            change -= receipt.gas_cost_wei
    return change + sum(wei for address, wei in block.withdrawals if address == owner)


def _gift_note(item: OurTransaction, pair: str, token: str, amount: int) -> Finding:
    return Finding(
        "gift-to-pair",
        f"pair {pair} held {amount} units of {token} above its reserves; "
        "the fill counts them as paid, the wallet did not pay them",
        tx_hash=item.outcome.tx_hash,
        block_number=item.outcome.block_number,
        token=token,
        difference=amount,
    )


def _unexplained(
    block: Block, code: str, symbol: str | None, expected: int, actual: int
) -> Finding:
    what = f"{symbol} balance" if symbol else "native balance"
    unit = f"units of {symbol}" if symbol else "wei"
    return Finding(
        code,
        f"block {block.number}: the {what} changed by {actual} {unit}, "
        f"{expected} are explained: {actual - expected} unexplained",
        block_number=block.number,
        token=symbol,
        expected=expected,
        actual=actual,
        difference=actual - expected,
    )
