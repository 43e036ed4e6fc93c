"""What a token does to those who move it, seen by moving some in a simulation.

A pair pays the wallet and the wallet pays the pair back, as a purchase and a sale would, and
nothing is sent. What arrives, what is charged, and what the balances are a day later tells a plain
token from one that keeps a fee, changes balances by itself, or does not move at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError

from rebalancer.errors import RpcUnavailable
from rebalancer.evm.abi import decode_output, encode_call, from_hex, to_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import PPM, BlockRef, HeldOut, Snapshot, Token, format_units, mul_div_down
from rebalancer.readers.wire import refused

FEE_ON_TRANSFER = "fee_on_transfer"
REBASING = "rebasing"
UNTRANSFERABLE = "untransferable"

#: Views that only tokens have whose balances somebody else can change: shares of something (stETH
#: and its kin; Aave's and later AMPL; Origin's) or a policy that expands them (AMPL from the
#: start). Within a block such a token may well move what it says.
SHARE_VIEWS = (
    "sharesOf(address)",
    "scaledBalanceOf(address)",
    "creditsBalanceOf(address)",
    "monetaryPolicy()",
)

#: EIP-1474 "method not supported" and JSON-RPC 2.0 "method not found".
_NO_SUCH_METHOD = (-32004, -32601)
#: A transfer of a real token takes a third of it, and one that burns gas does not take the rest.
_CALL_GAS = 400_000
_BLOCK_GAS = 200_000_000
_DAY_S = 86_400
#: Tokens in one simulation: nodes limit the gas of a request, geth to 50 million by default.
_TOKENS_PER_REQUEST = 20
#: About a thousandth of what the payer holds: enough to see a fee of a few ppm, too little to run
#: short. A prime, so that the amount is no round number of the shares that may stand behind it.
_PART = 997
#: Rounding of shares, in smallest units; whatever is missing beyond it is a fee.
_DUST = 2


@dataclass(frozen=True, slots=True)
class Trial:
    """``amount`` of ``token`` goes from ``payer`` to ``wallet`` and back."""

    token: Token
    wallet: str
    payer: str
    amount: int

    def today(self) -> Iterator[dict[str, str]]:
        yield self._balance(self.payer)
        yield self._balance(self.wallet)
        yield self._move(self.payer, self.wallet)
        yield self._balance(self.payer)
        yield self._balance(self.wallet)
        yield self._move(self.wallet, self.payer)
        yield self._balance(self.payer)
        yield self._balance(self.wallet)
        for signature in SHARE_VIEWS:
            args = (self.payer,) if "address" in signature else ()
            yield self._call(self.wallet, encode_call(signature, *args))

    def tomorrow(self) -> Iterator[dict[str, str]]:
        yield self._balance(self.payer)
        yield self._balance(self.wallet)

    def _balance(self, owner: str) -> dict[str, str]:
        return self._call(owner, encode_call("balanceOf(address)", owner))

    def _move(self, sender: str, to: str) -> dict[str, str]:
        return self._call(sender, encode_call("transfer(address,uint256)", to, self.amount))

    def _call(self, sender: str, data: bytes) -> dict[str, str]:
        call = {"from": sender, "to": self.token.address, "data": to_hex(data)}
        return {**call, "gas": hex(_CALL_GAS)}


def trials(snapshot: Snapshot) -> tuple[Trial, ...]:
    """One trial for each token that could be traded: paid by the pool that holds most of it."""
    found = []
    for amount in snapshot.balances:
        token = amount.token
        pools = [
            (pair.reserves(token)[0], pair.address) for pair in snapshot.pairs if pair.has(token)
        ]
        if pools:
            reserve, payer = max(pools, key=lambda pool: (pool[0], pool[1].lower()))
            found.append(Trial(token, snapshot.wallet, payer, max(reserve // _PART, 1)))
    return tuple(found)


def try_transfers(rpc: Rpc, wanted: Sequence[Trial], block: BlockRef) -> tuple[HeldOut, ...]:
    """The tokens that are not safe to trade, each with what was seen; one request for twenty.

    Nothing is known on a node without eth_simulateV1: what is sent is simulated again before it is
    signed, so it answers with nothing. Raises ReadError where the node refuses, RpcUnavailable for
    an answer of another shape.
    """
    held_out: list[HeldOut] = []
    for start in range(0, len(wanted), _TOKENS_PER_REQUEST):
        part = wanted[start : start + _TOKENS_PER_REQUEST]
        try:
            blocks = rpc.call("eth_simulateV1", _payload(part, block), {"blockHash": block.hash})
        except RpcError as error:
            if error.code in _NO_SUCH_METHOD:
                return ()
            raise refused(error, "what the tokens do when they move", block.number) from error
        held_out += _verdicts(part, blocks)
    return tuple(held_out)


def _payload(part: Sequence[Trial], block: BlockRef) -> dict[str, Any]:
    limits = {"gasLimit": hex(_BLOCK_GAS)}
    return {
        "blockStateCalls": [
            {
                "blockOverrides": {**limits, "time": hex(block.timestamp + 12)},
                "calls": [call for trial in part for call in trial.today()],
            },
            {
                "blockOverrides": {**limits, "time": hex(block.timestamp + _DAY_S)},
                "calls": [call for trial in part for call in trial.tomorrow()],
            },
        ]
    }


def _verdicts(part: Sequence[Trial], blocks: Any) -> Iterator[HeldOut]:
    try:
        today, tomorrow = (list(block["calls"]) for block in blocks)
    except (TypeError, KeyError, ValueError):
        today, tomorrow = [], []
    per_today, per_tomorrow = 8 + len(SHARE_VIEWS), 2
    if len(today) != per_today * len(part) or len(tomorrow) != per_tomorrow * len(part):
        raise RpcUnavailable(
            "the node's answer for a simulation is not what eth_simulateV1 returns",
            hint="the endpoint is faulty: use another one",
        )
    for index, trial in enumerate(part):
        seen = _Seen.of(
            today[per_today * index :][:per_today],
            tomorrow[per_tomorrow * index :][:per_tomorrow],
        )
        finding = _finding(trial, seen)
        if finding is not None:
            code, text = finding
            yield HeldOut(trial.token.symbol, trial.token.address, code, text)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Balances as (payer, wallet) before, after the first and the second transfer, and a day later.

    ``moved`` says of each transfer whether it succeeded; ``shares`` which of SHARE_VIEWS answered.
    """

    before: tuple[int, int] | None
    paid: tuple[int, int] | None
    back: tuple[int, int] | None
    later: tuple[int, int] | None
    moved: tuple[bool, bool]
    shares: tuple[str, ...]

    @classmethod
    def of(cls, today: Sequence[Any], tomorrow: Sequence[Any]) -> _Seen:
        shares = zip(SHARE_VIEWS, today[8:], strict=True)
        return cls(
            before=_both(today[0:2]),
            paid=_both(today[3:5]),
            back=_both(today[6:8]),
            later=_both(tomorrow),
            moved=(_moved(today[2]), _moved(today[5])),
            shares=tuple(signature for signature, answer in shares if _uint(answer) is not None),
        )


def _finding(trial: Trial, seen: _Seen) -> tuple[str, str] | None:
    """Code and text of what makes a token unsafe; None for a plain one."""
    symbol = trial.token.symbol
    if seen.before is None:
        return UNTRANSFERABLE, f"{symbol} does not tell balances in a simulation"
    if seen.before[0] < trial.amount:
        return None  # The pool has less than it says: it cannot be traded, whatever the token is.
    if seen.shares:
        view = seen.shares[0].partition("(")[0]
        return REBASING, f"{symbol} is rebasing: {view}() can change its balances"
    if not seen.moved[0] or seen.paid is None:
        return UNTRANSFERABLE, f"{symbol} cannot be received: a transfer from its pool fails"
    if fault := _fault(trial, seen.before, seen.paid):
        return fault
    if not seen.moved[1] or seen.back is None:
        return UNTRANSFERABLE, f"{symbol} cannot be sold: a transfer from the wallet fails"
    if fault := _fault(trial, (seen.paid[1], seen.paid[0]), (seen.back[1], seen.back[0])):
        return fault
    if seen.later != seen.back:
        return REBASING, f"{symbol} is rebasing: balances that nobody touched change in a day"
    return None


def _fault(trial: Trial, before: tuple[int, int], after: tuple[int, int]) -> tuple[str, str] | None:
    """What a transfer of ``amount`` did wrong, balances as (sender, receiver)."""
    symbol = trial.token.symbol
    charged, received = before[0] - after[0], after[1] - before[1]
    if (charged, received) == (trial.amount, trial.amount):
        return None
    if abs(charged - trial.amount) <= _DUST and abs(received - trial.amount) <= _DUST:
        return REBASING, f"{symbol} is rebasing: a transfer moves a unit more or less than it says"
    if received > trial.amount or charged < trial.amount:
        return REBASING, f"{symbol} is rebasing: a transfer changes other balances than it says"
    fee = mul_div_down(charged - received, PPM, charged)
    share = format_units(fee, 4, 4)
    return FEE_ON_TRANSFER, f"{symbol} keeps a fee of {share} % of what is transferred"


def _both(answers: Sequence[Any]) -> tuple[int, int] | None:
    first, second = (_uint(answer) for answer in answers)
    return None if first is None or second is None else (first, second)


def _returned(answer: Any) -> bytes | None:
    """What a simulated call returned; None where it failed."""
    if not isinstance(answer, Mapping) or answer.get("status") != "0x1":
        return None
    data = answer.get("returnData")
    try:
        return from_hex(data) if isinstance(data, str) else None
    except ValueError:
        return None


def _uint(answer: Any) -> int | None:
    data = _returned(answer)
    try:
        return None if data is None else int(decode_output(("uint256",), data)[0])
    except DecodingError:
        return None


def _moved(answer: Any) -> bool:
    """Whether a transfer succeeded: it returned nothing, or true (see docs/executor.md)."""
    data = _returned(answer)
    return data is not None and (not data or int.from_bytes(data[:32], "big") == 1)
