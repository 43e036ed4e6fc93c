"""A batch as the executor contracts take it: terms, watched balances and steps, bit by bit.

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

EXECUTE_SIGNATURE = "execute(uint256,(uint256,uint256)[])"
#: What swaps one token over one to three pairs, by their number.
ROUTE_SIGNATURES = {
    hops: f"route({','.join(['uint256'] * words)})" for hops, words in ((1, 4), (2, 6), (3, 7))
}
MAX_ENTRIES = 50
MAX_WATCHED = 16

_KIND = 200
_SWAP, _CHECK, _ADD, _REMOVE, _WRAP, _UNWRAP, _PERMIT = (kind << _KIND for kind in range(7))
_ZERO_FOR_ONE, _FORWARD, _MEASURED, _GAINED, _GAINED_1 = (1 << bit for bit in range(192, 197))
_V_28 = _ZERO_FOR_ONE
_KEPT, _INDEX = 160, 184
_OPERAND = _KEPT
_BASE_FEE, _WATCHED_COUNT, _FIRST_STEP = 64, 128, 136
_TERM = 160
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
    """Calldata that does a batch; raises PlanError for what the contract could not mean.

    It is a call of ``route`` where that does the same for less gas, else one of ``execute``.
    """
    words = route_of(batch)
    if words:
        return encode_call(ROUTE_SIGNATURES[len(batch.steps)], *words)
    return encode_call(EXECUTE_SIGNATURE, terms_of(batch), entries_of(batch))


def route_of(batch: Batch) -> list[int]:
    """The words of ``route`` for one to three swaps in a row, each of which pays the next.

    Empty where ``route`` would not do exactly this batch: it pays a given amount, and watches the
    token that is bought, which must gain what the last swap pays at least.
    """
    swaps = [step for step in batch.steps if isinstance(step, Swap) and not step.measured]
    if len(swaps) != len(batch.steps) or len(swaps) not in ROUTE_SIGNATURES:
        return []
    first, last = swaps[0], swaps[-1]
    in_a_row = all(step.forwarded for step in swaps[1:])
    if not in_a_row or first.amount_in is None or _same(first.token_in, last.token_out):
        return []
    if batch.watched != (Watch(last.token_out, last.min_amount_out),):
        return []
    _check_forwarding(swaps)
    hops = [_hop(step) for step in swaps]
    second, third = ([step.min_amount_out for step in swaps[1:]] + [0, 0])[:2]
    words = [
        _address(first.token_in) | _field(batch.deadline_ts, 64, "deadline") << _TERM,
        _address(last.token_out) | _field(batch.max_base_fee_wei, 64, "base fee") << _TERM,
        hops[0],
        _swap_amounts(first),
    ]
    return [*words, hops[1], _halves(second, third), *hops[2:]] if len(hops) > 1 else words


def terms_of(batch: Batch) -> int:
    """The first word of ``execute``: when to do it, what is watched, where the steps begin."""
    operands = len(_index_tokens(batch)) + sum(_operand(step) is not None for step in batch.steps)
    terms = _field(batch.deadline_ts, 64, "deadline")
    terms |= _field(batch.max_base_fee_wei, 64, "base fee") << _BASE_FEE
    return terms | len(batch.watched) << _WATCHED_COUNT | operands << _FIRST_STEP


def entries_of(batch: Batch) -> list[Entry]:
    """The entries of a batch: tokens (the watched ones first), other operands, steps."""
    if not batch.steps:
        raise PlanError("a batch needs a step")
    if len(batch.watched) > MAX_WATCHED:
        raise PlanError(
            f"the executor watches at most {MAX_WATCHED} tokens, not {len(batch.watched)}",
            hint="plan fewer tokens at once",
        )
    index = _index_tokens(batch)
    watched = len(batch.watched)
    entries: list[Entry] = [
        (_address(watch.token), _halves(watch.least_gain, watch.most_loss))
        for watch in batch.watched
    ]
    entries += [(token, 0) for token in list(index)[watched:]]
    _check_forwarding(batch.steps)
    steps: list[Entry] = []
    for step in batch.steps:
        _check_gained(step, index, watched)
        what, amounts = _entry(step, index)
        operand = _operand(step)
        if operand is not None:
            token1, word, amount = operand
            what |= len(entries) << _OPERAND
            entries.append((word if token1 is None else index[_address(token1)], amount))
        steps.append((what, amounts))
    if len(entries) + len(steps) > MAX_ENTRIES:
        raise PlanError(
            f"the batch has {len(entries) + len(steps)} entries, the executor takes {MAX_ENTRIES}",
            hint="plan fewer trades at once: raise min_trade or lower reset in the policy",
        )
    return entries + steps


def _index_tokens(batch: Batch) -> dict[int, int]:
    """Index in the batch per token (as a number), the watched ones first."""
    tokens = [_address(watch.token) for watch in batch.watched]
    if len(set(tokens)) != len(tokens):
        raise PlanError("a token is watched twice")
    for step in batch.steps:
        tokens += [_address(token) for token in _paid(step)]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _paid(step: Step) -> Iterator[str]:
    """Tokens that a step must find in the batch's list."""
    match step:
        case Swap(token_in=token, forwarded=False) | Swap(token_in=token, measured=True):
            yield token
        case AddLiquidity(token0=token0, token1=token1):
            yield token0
            yield token1


def _operand(step: Step) -> tuple[str | None, int, int] | None:
    """What a step needs besides its own two words: two more, the first of which may be the index
    of a token. They stand among the tokens, and the step says where."""
    match step:
        case AddLiquidity():
            return step.token1, 0, _field(step.least_shares, 256, "minimum")
        case RemoveLiquidity(least0=least0, least1=least1):
            return None, _field(least0, 256, "minimum"), _field(least1, 256, "minimum")
        case Permit(r=r, s=s):
            return None, r, s
    return None


def _entry(step: Step, index: dict[int, int]) -> Entry:
    match step:
        case Swap():
            return _swap(step, index)
        case Check(token, floor):
            return _CHECK | _address(token), _field(floor, 256, "floor")
        case AddLiquidity():
            what = _ADD | _address(step.pair) | index[_address(step.token0)] << _INDEX
            what |= _GAINED if step.most0 is None else 0
            what |= _GAINED_1 if step.most1 is None else 0
            return what, _halves(step.most0 or 0, step.most1 or 0)
        case RemoveLiquidity(pair, shares):
            what = _REMOVE | _address(pair) | _gained(pair, shares, index)
            return what, _field(shares or 0, 256, "amount")
        case Wrap(wrapped, amount, forward):
            what = _WRAP | _address(wrapped) | (_FORWARD if forward else 0)
            return what, _field(amount, 256, "amount")
        case Unwrap(wrapped, amount):
            what = _UNWRAP | _address(wrapped) | _gained(wrapped, amount, index)
            return what, _field(amount or 0, 256, "amount")
        case Permit(token, amount, v):
            what = _PERMIT | _address(token) | (_V_28 if v == 28 else 0)
            return what, _field(amount, 256, "allowance")


def _swap(step: Swap, index: dict[int, int]) -> Entry:
    what = _SWAP | _hop(step)
    if not step.forwarded or step.measured:
        what |= index[_address(step.token_in)] << _INDEX
    for flag, wanted in (
        (_FORWARD, step.forward),
        (_MEASURED, step.measured),
        (_GAINED, step.amount_in is None and not step.forwarded),
    ):
        what |= flag if wanted else 0
    return what, _swap_amounts(step)


def _hop(step: Swap) -> int:
    """The pair, its fee and the direction: all that ``route`` is told of a swap."""
    if not 0 <= step.fee_ppm < PPM:
        raise PlanError(f"a fee of {step.fee_ppm} ppm is not below 100 percent")
    token_in, token_out = _address(step.token_in), _address(step.token_out)
    hop = _address(step.pair) | (PPM - step.fee_ppm) << _KEPT
    return hop | (_ZERO_FOR_ONE if token_in < token_out else 0)


def _swap_amounts(step: Swap) -> int:
    # More than 112 bits no pair can book.
    amount_in = 0 if step.forwarded else _field(step.amount_in or 0, 112, "amount in")
    return _halves(amount_in, step.min_amount_out)


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
        if index.get(_address(token), watched) >= watched:
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


def _same(a: str, b: str) -> bool:
    return _address(a) == _address(b)


def _address(text: str) -> int:
    return int(text, 16)


def _halves(low: int, high: int) -> int:
    return _field(low, _HALF, "amount") | _field(high, _HALF, "amount") << _HALF


def _field(value: int, bits: int, name: str) -> int:
    if not 0 <= value < 1 << bits:
        raise PlanError(f"the executor cannot be told of the {name} {value}: it has {bits} bits")
    return value
