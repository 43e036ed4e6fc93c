"""A batch as the executor contract takes it: terms, watched balances and steps, bit by bit.

This is the only place that knows the layout of docs/executor.md. Steps are plain facts about what
the contract shall do; where they come from (a plan, a test, a bench) is none of its business. All
amounts are in smallest units; an amount of None is "what the batch has brought so far".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rebalancer.errors import PlanError
from rebalancer.evm.abi import encode_call
from rebalancer.model import PPM

EXECUTE_SIGNATURE = "execute((uint256,uint256)[])"
MAX_ENTRIES = 50
MAX_WATCHED = 16

_KIND = 200
_SWAP, _CHECK, _ADD, _REMOVE, _WRAP, _UNWRAP, _PERMIT = (kind << _KIND for kind in range(7))
_ZERO_FOR_ONE, _FORWARD, _MEASURED, _GAINED, _GAINED_1 = (1 << bit for bit in range(192, 197))
_V_28 = _ZERO_FOR_ONE
_KEPT, _INDEX = 160, 184
_WATCHED_COUNT, _FIRST_STEP = 64, 72
_HALF = 128

#: One entry of a batch: the words ``what`` and ``amounts``.
Entry = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Watch:
    """A balance of the caller that must gain ``least_gain`` by the batch, less ``most_loss``."""

    token: str
    least_gain: int = 0
    most_loss: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """The caller's balance of ``token`` must be at least ``least`` when this step is reached."""

    token: str
    least: int


@dataclass(frozen=True, slots=True)
class Swap:
    """Exact-in swap. ``forwarded``: the step before pays it; ``forward``: it pays the next one.

    ``measured`` sells what arrives in the pair, for tokens that take a fee on transfers.
    """

    pair: str
    token_in: str
    token_out: str
    fee_ppm: int
    amount_in: int | None
    min_amount_out: int
    forwarded: bool = False
    forward: bool = False
    measured: bool = False


@dataclass(frozen=True, slots=True)
class AddLiquidity:
    """At most so much of both tokens, at the pair's ratio (``rebalancer.amm.liquidity``)."""

    pair: str
    token0: str
    token1: str
    most0: int | None
    most1: int | None
    least_shares: int


@dataclass(frozen=True, slots=True)
class RemoveLiquidity:
    """Redeem shares of a pair."""

    pair: str
    shares: int | None
    least0: int
    least1: int


@dataclass(frozen=True, slots=True)
class Wrap:
    """Ether into wrapped ether; in allowance mode the first step, of all the ether sent along."""

    wrapped: str
    amount: int
    forward: bool = False


@dataclass(frozen=True, slots=True)
class Unwrap:
    """Wrapped ether into ether."""

    wrapped: str
    amount: int | None


@dataclass(frozen=True, slots=True)
class Permit:
    """The caller's EIP-2612 permit for the executor, valid until the batch's deadline."""

    token: str
    amount: int
    v: int
    r: int
    s: int


Step = Swap | Check | AddLiquidity | RemoveLiquidity | Wrap | Unwrap | Permit


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one call does; ``deadline_ts`` in unix seconds, the base fee in wei per gas."""

    deadline_ts: int
    max_base_fee_wei: int
    watched: tuple[Watch, ...]
    steps: tuple[Step, ...]


def encode_batch(batch: Batch) -> bytes:
    """Calldata of ``execute``; raises PlanError for what the contract could not mean."""
    return encode_call(EXECUTE_SIGNATURE, entries_of(batch))


def entries_of(batch: Batch) -> list[Entry]:
    """The words of a batch: terms, tokens (the watched ones first), steps."""
    if not batch.steps:
        raise PlanError("a batch needs a step")
    if len(batch.watched) > MAX_WATCHED:
        raise PlanError(
            f"the executor watches at most {MAX_WATCHED} tokens, not {len(batch.watched)}",
            hint="plan fewer tokens at once",
        )
    index = _index_tokens(batch)
    watched = len(batch.watched)
    terms = _field(batch.deadline_ts, 64, "deadline")
    terms |= watched << _WATCHED_COUNT | (len(index) + 1) << _FIRST_STEP
    entries: list[Entry] = [(terms, _field(batch.max_base_fee_wei, 256, "base fee"))]
    entries += [
        (_address(watch.token), _halves(watch.least_gain, watch.most_loss))
        for watch in batch.watched
    ]
    entries += [(token, 0) for token in list(index)[watched:]]
    _check_forwarding(batch.steps)
    for step in batch.steps:
        _check_gained(step, index, watched)
        entries += _entries(step, index)
    if len(entries) > MAX_ENTRIES:
        raise PlanError(
            f"the batch has {len(entries)} entries, the executor takes {MAX_ENTRIES}",
            hint="plan fewer trades at once: raise min_trade or lower reset in the policy",
        )
    return entries


def _index_tokens(batch: Batch) -> dict[int, int]:
    """Index in the batch per token (as a number), the watched ones first."""
    tokens = [_address(watch.token) for watch in batch.watched]
    if len(set(tokens)) != len(tokens):
        raise PlanError("a token is watched twice")
    for step in batch.steps:
        tokens += [_address(token) for token in _paid(step)]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens), start=1)}


def _paid(step: Step) -> Iterator[str]:
    """Tokens that a step must find in the batch's list."""
    match step:
        case Swap(token_in=token, forwarded=False) | Swap(token_in=token, measured=True):
            yield token
        case AddLiquidity(token0=token0, token1=token1):
            yield token0
            yield token1


def _entries(step: Step, index: dict[int, int]) -> list[Entry]:
    match step:
        case Swap():
            return [_swap(step, index)]
        case Check(token, floor):
            return [(_CHECK | _address(token), _field(floor, 256, "floor"))]
        case AddLiquidity():
            what = _ADD | _address(step.pair) | index[_address(step.token0)] << _INDEX
            what |= _GAINED if step.most0 is None else 0
            what |= _GAINED_1 if step.most1 is None else 0
            more = (index[_address(step.token1)], _field(step.least_shares, 256, "minimum"))
            return [(what, _halves(step.most0 or 0, step.most1 or 0)), more]
        case RemoveLiquidity(pair, shares, least0, least1):
            what = _REMOVE | _address(pair) | _gained(pair, shares, index)
            least = (_field(least0, 256, "minimum"), _field(least1, 256, "minimum"))
            return [(what, _field(shares or 0, 256, "amount")), least]
        case Wrap(wrapped, amount, forward):
            what = _WRAP | _address(wrapped) | (_FORWARD if forward else 0)
            return [(what, _field(amount, 256, "amount"))]
        case Unwrap(wrapped, amount):
            what = _UNWRAP | _address(wrapped) | _gained(wrapped, amount, index)
            return [(what, _field(amount or 0, 256, "amount"))]
        case Permit(token, amount, v, r, s):
            what = _PERMIT | _address(token) | (_V_28 if v == 28 else 0)
            return [(what, _field(amount, 256, "allowance")), (r, s)]


def _swap(step: Swap, index: dict[int, int]) -> Entry:
    token_in = _address(step.token_in)
    if not 0 <= step.fee_ppm < PPM:
        raise PlanError(f"a fee of {step.fee_ppm} ppm is not below 100 percent")
    what = _SWAP | _address(step.pair) | (PPM - step.fee_ppm) << _KEPT
    if not step.forwarded or step.measured:
        what |= index[token_in] << _INDEX
    for flag, wanted in (
        (_ZERO_FOR_ONE, token_in < _address(step.token_out)),
        (_FORWARD, step.forward),
        (_MEASURED, step.measured),
        (_GAINED, step.amount_in is None and not step.forwarded),
    ):
        what |= flag if wanted else 0
    # More than 112 bits no pair can book.
    amount_in = 0 if step.forwarded else _field(step.amount_in or 0, 112, "amount in")
    return what, _halves(amount_in, step.min_amount_out)


def _gained(token: str, amount: int | None, index: dict[int, int]) -> int:
    return 0 if amount is not None else _GAINED | index[_address(token)] << _INDEX


def _check_gained(step: Step, index: dict[int, int], watched: int) -> None:
    """What the batch has brought is known of watched tokens alone."""
    wanted: list[str] = []
    match step:
        case Swap(amount_in=None, token_in=token, forwarded=False):
            wanted = [token]
        case AddLiquidity():
            sides = ((step.token0, step.most0), (step.token1, step.most1))
            wanted = [token for token, most in sides if most is None]
        case RemoveLiquidity(pair=token, shares=None) | Unwrap(wrapped=token, amount=None):
            wanted = [token]
    for token in wanted:
        if index.get(_address(token), watched + 1) > watched:
            raise PlanError(f"what the batch brings of {token} is spent, but it is not watched")


def _check_forwarding(steps: Sequence[Step]) -> None:
    """A step that pays the next one is followed by a swap that expects it, and the other way."""
    expected = False
    for number, step in enumerate(steps):
        forwarded = isinstance(step, Swap) and step.forwarded
        if forwarded != expected:
            raise PlanError(f"step {number} and the one before it differ in who pays it")
        expected = isinstance(step, Swap | Wrap) and step.forward
    if expected:
        raise PlanError("the last step pays a step that is not there")


def _address(text: str) -> int:
    return int(text, 16)


def _halves(low: int, high: int) -> int:
    return _field(low, _HALF, "amount") | _field(high, _HALF, "amount") << _HALF


def _field(value: int, bits: int, name: str) -> int:
    if not 0 <= value < 1 << bits:
        raise PlanError(f"the executor cannot be told of the {name} {value}: it has {bits} bits")
    return value
