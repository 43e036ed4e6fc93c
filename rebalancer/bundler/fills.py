"""What really happened, read from event logs: one fill per leg, exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rebalancer.errors import ExecutionError
from rebalancer.evm.abi import from_hex, topic
from rebalancer.model import (
    AddLeg,
    Amount,
    Fill,
    Leg,
    Plan,
    RemoveLeg,
    SwapLeg,
    UnwrapLeg,
    WrapLeg,
    contract_of,
)

Log = Mapping[str, Any]

SWAP = topic("Swap(address,uint256,uint256,uint256,uint256,address)")
MINT = topic("Mint(address,uint256,uint256)")
BURN = topic("Burn(address,uint256,uint256,address)")
DEPOSIT = topic("Deposit(address,uint256)")
WITHDRAWAL = topic("Withdrawal(address,uint256)")
TRANSFER = topic("Transfer(address,address,uint256)")

#: What each kind of leg makes its contract say, who asked for it being the first topic.
_EVENTS = {"swap": SWAP, "add": MINT, "remove": BURN, "wrap": DEPOSIT, "unwrap": WITHDRAWAL}
#: Topics of each event, its signature among them, and words of its data.
_SHAPE = {SWAP: (3, 4), MINT: (2, 2), BURN: (3, 2), DEPOSIT: (2, 1), WITHDRAWAL: (2, 1)}
_WORD = 32
_ETHER = (DEPOSIT, WITHDRAWAL)
_HINT = "the transaction did something else than the plan; look at it before going on"


@dataclass(frozen=True, slots=True)
class _Event:
    """An event that may be a leg's; ``shares`` are those that were minted or burnt with it."""

    signature: str
    contract: str
    words: tuple[int, ...]
    shares: int


def decode_fills(plan: Plan, logs: Sequence[Log], executor: str) -> tuple[Fill, ...]:
    """One fill per leg, in the order of the legs, from what pairs and wrapped ether say.

    Only what the executor asked for counts, of the plan's own contracts, and paid to the wallet or
    on to a pair of the plan: a hostile token may make others trade on the same pair, even through
    the executor. Raises ExecutionError unless there is exactly one matching event per leg.
    """
    events = list(_events(plan, logs, executor))
    if len(events) != len(plan.legs):
        raise ExecutionError(
            f"the logs hold {len(events)} steps of the executor, the plan has {len(plan.legs)}",
            hint=_HINT,
        )
    return tuple(
        _fill(index, leg, event)
        for index, (leg, event) in enumerate(zip(plan.legs, events, strict=True))
    )


def _events(plan: Plan, logs: Sequence[Log], executor: str) -> Iterator[_Event]:
    wallet, asked = int(plan.wallet, 16), int(executor, 16)
    wanted = {(_EVENTS[leg.kind], contract_of(leg).lower()) for leg in plan.legs}
    receivers = {wallet, *(int(contract_of(leg), 16) for leg in plan.legs)}
    for at, log in enumerate(logs):
        topics, contract = log["topics"], log["address"].lower()
        signature = topics[0].lower() if topics else ""
        if (signature, contract) not in wanted:
            continue
        words = _words(log)
        if (len(topics), len(words)) != _SHAPE[signature] or int(topics[1], 16) != asked:
            continue
        party, shares = _party_and_shares(logs, at, signature, asked)
        if party in receivers or (signature in _ETHER and asked == wallet):
            yield _Event(signature, contract, words, shares)


def _party_and_shares(
    logs: Sequence[Log], at: int, signature: str, asked: int
) -> tuple[int | None, int]:
    """Who was paid by the step that ``logs[at]`` tells of, and the shares that moved with it.

    Of unwrapping, who paid. Swaps and burns name it. Shares are minted, and the wrapped token is
    paid, next to the event, with nobody else's code in between.
    """
    log = logs[at]
    contract = log["address"].lower()
    pair = int(contract, 16)
    before = list(_transfers(logs[:at], contract))
    if signature == MINT:
        return next(((to, raw) for sender, to, raw in reversed(before) if sender == 0), (None, 0))
    if signature == BURN:
        burnt = (raw for sender, to, raw in reversed(before) if (sender, to) == (pair, 0))
        return int(log["topics"][2], 16), next(burnt, 0)
    if signature == DEPOSIT:
        later = _transfers(logs[at:], contract)
        return next((to for sender, to, _ in later if sender == asked), None), 0
    if signature == WITHDRAWAL:
        return next((sender for sender, to, _ in reversed(before) if to == asked), None), 0
    return int(log["topics"][2], 16), 0


def _transfers(logs: Sequence[Log], token: str) -> Iterator[tuple[int, int, int]]:
    """Transfers of one token as (sender, receiver, amount)."""
    for log in logs:
        topics, words = log["topics"], _words(log)
        # A fourth topic makes it ERC-721's event of the same name.
        fits = (len(topics), len(words)) == (3, 1) and topics[0].lower() == TRANSFER
        if fits and log["address"].lower() == token:
            yield int(topics[1], 16), int(topics[2], 16), words[0]


def _fill(index: int, leg: Leg, event: _Event) -> Fill:
    """Read the event of a leg; pairs order their tokens by address."""
    if (event.signature, event.contract) != (_EVENTS[leg.kind], contract_of(leg).lower()):
        raise ExecutionError(
            f"step {index + 1} happened on {event.contract}, the plan says {leg.kind} on"
            f" {contract_of(leg)}",
            hint=_HINT,
        )
    words = event.words
    match leg:
        case SwapLeg():
            zero_for_one = int(leg.token_in.address, 16) < int(leg.token_out.address, 16)
            paid, bought = (words[0], words[3]) if zero_for_one else (words[1], words[2])
            return Fill(index, leg.pair, leg.token_in, leg.token_out, paid, bought)
        case AddLeg():
            more = Amount(leg.token1, words[1])
            return Fill(index, leg.pair, leg.token0, leg.share, words[0], event.shares, more)
        case RemoveLeg():
            more = Amount(leg.token1, words[1])
            return Fill(
                index, leg.pair, leg.share, leg.token0, event.shares, words[0], more_out=more
            )
        case WrapLeg():
            place = leg.wrapped.address
            return Fill(index, place, leg.native, leg.wrapped, words[0], words[0])
        case UnwrapLeg():
            place = leg.wrapped.address
            return Fill(index, place, leg.wrapped, leg.native, words[0], words[0])


def _words(log: Log) -> tuple[int, ...]:
    """The data of an event as whole words, which all that is read here consists of."""
    data = from_hex(log["data"])
    return tuple(
        int.from_bytes(data[start : start + _WORD]) for start in range(0, len(data), _WORD)
    )
