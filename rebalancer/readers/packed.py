"""Many view calls in few bytes: the other side of ``contracts/Reader.evm``, which says the format.

A balance takes the 20 bytes of its token, and where many wallets are asked about many tokens not
even those; Multicall3 takes 224. Its answer is a word and a byte, where Multicall3's has 160. The
program is put at an address where nothing is by the eth_call's state override.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import NamedTuple

from rebalancer.evm.abi import selector, split_types
from rebalancer.readers.call import Call, Result

#: Gas of one eth_call: half of what geth allows by default (50 million), below what Anvil does.
MAX_GAS = 25_000_000
#: Gas of one view call: a cold account and some cold slots, often behind a proxy. Most use half of
#: it; a call that there was no gas for comes back as not made. Calldata is 20 bytes of it.
GAS_PER_CALL = 12_000
#: The same where another call of the eth_call goes to the same contract: account, implementation
#: and common slots are warm.
GAS_PER_NEXT_CALL = 6_000
#: Where the program is put: the end of keccak-256("rebalancer: Reader.evm"). Nobody has its key.
ADDRESS = "0x05878Eb2A0b0151aAcd9e7E53796EE4F22973485"

_WORD = 32
_ADDRESS_BYTES, _ADDRESS_CHARS = 20, 42
_MOST_WORDS = 8
_MOST_IN_GROUP = 0xFFFF
#: Statuses; 2 is a call that returned nothing.
_NOT_MADE, _FAILED, _TOO_LITTLE, _MADE = 0, 1, 3, 4
#: Arguments that are written as they are; return values of one word each.
_ARGUMENT = re.compile(r"uint[0-9]+|address")
_STATIC = re.compile(r"u?int[0-9]+|address|bool|bytes[0-9]+")


@dataclass(frozen=True, slots=True)
class Packed:
    """Calls of one eth_call: its data in hex, and the calls by how many words they return."""

    data: str
    columns: tuple[tuple[int, tuple[Call, ...]], ...]
    count: int

    @property
    def calls(self) -> Iterator[Call]:
        """In the order of the answer."""
        for _, calls in self.columns:
            yield from calls


@dataclass(frozen=True, slots=True)
class Answers(Mapping[Call, Result]):
    """What calls came back with. ``words`` are of those that returned what they should.

    A result is made when it is looked at: of thousands kept, most of the time would go into
    collecting garbage that there is not.
    """

    words: dict[Call, bytes]
    others: dict[Call, Result]

    def __getitem__(self, call: Call) -> Result:
        data = self.words.get(call)
        return self.others[call] if data is None else Result(call, True, data)

    def __iter__(self) -> Iterator[Call]:
        return chain(self.words, self.others)

    def __len__(self) -> int:
        return len(self.words) + len(self.others)

    def add(self, more: Answers) -> None:
        """Take in the answers to other calls."""
        self.words.update(more.words)
        self.others.update(more.others)


class _Column(NamedTuple):
    """Calls of one target that differ in their argument alone."""

    head: bytes
    target: str
    calls: list[Call]


@cache
def program() -> str:
    """The program's code in hex."""
    artifact = files("rebalancer.readers").joinpath("artifacts", "Reader.json").read_text()
    return str(json.loads(artifact)["runtime"])


def pack(calls: Iterable[Call]) -> list[Packed] | None:
    """``calls``, in an order of their own, as eth_calls within the limits; None where one has no
    short form: more than one argument, or a return value that is not of a fixed size.
    """
    shapes: dict[tuple[str, tuple[str, ...]], dict[str, list[Call]]] = {}
    for call in calls:
        shape = shapes.setdefault((call.signature, call.returns), {})
        shape.setdefault(call.target, []).append(call)
    columns: list[_Column] = []
    for (signature, returns), of_shape in shapes.items():
        head = _head(signature, returns)
        if head is None:
            return None
        columns += (_Column(head, target, same) for target, same in of_shape.items())
    try:
        return [_packed(part) for part in _parts(columns)]
    except (ValueError, OverflowError):  # an argument that is not what its type says
        return None


def unpack(packed: Packed, data: bytes) -> Answers | None:
    """What the calls came back with; None for what is no such answer. Calls that were not made are
    not in it.
    """
    statuses, at = data[: packed.count], packed.count
    found = Answers({}, {})
    if statuses == bytes((_MADE,)) * packed.count:
        for words, calls in packed.columns:
            step = _WORD * words
            end = at + step * len(calls)
            rows = (data[i : i + step] for i in range(at, end, step))
            found.words.update(zip(calls, rows, strict=True))
            at = end
    else:
        each = ((call, words) for words, calls in packed.columns for call in calls)
        for status, (call, words) in zip(statuses, each, strict=False):
            row = data[at : at + _WORD * words]
            if status == _MADE:
                found.words[call] = row
            elif status != _NOT_MADE:
                # Of too little nobody knows how much it was; a byte is too little for any value.
                kept = row[:1] if status == _TOO_LITTLE else b""
                found.others[call] = Result(call, status != _FAILED, kept)
            at += _WORD * words if status != _NOT_MADE else 0
    whole = len(statuses) == packed.count and at == len(data)
    well = whole and max(statuses) <= _MADE
    return found if well else None


@cache
def _head(signature: str, returns: tuple[str, ...]) -> bytes | None:
    """Selector, width of the argument and words to return; None where there is no such form."""
    types = split_types(signature[signature.index("(") + 1 : -1])
    if len(types) > 1 or not 0 < len(returns) <= _MOST_WORDS:
        return None
    if not all(map(_ARGUMENT.fullmatch, types)) or not all(map(_STATIC.fullmatch, returns)):
        return None
    width = 0 if not types else _ADDRESS_BYTES if types[0] == "address" else _WORD
    return selector(signature) + bytes((width, len(returns)))


def _parts(columns: Sequence[_Column]) -> Iterator[list[_Column]]:
    """Cut where an eth_call would grow beyond the limits, into parts of about the same gas."""
    total = _gas(columns)
    limit = min(-(-total // max(-(-total // MAX_GAS), 1)) + GAS_PER_CALL, MAX_GAS)
    part: list[_Column] = []
    seen: set[str] = set()
    gas = 0
    for head, target, every in columns:
        calls = every
        while calls:
            first = GAS_PER_NEXT_CALL if target in seen else GAS_PER_CALL
            room = 1 + (limit - gas - first) // GAS_PER_NEXT_CALL
            if room < 1 and part:
                yield part
                part, seen, gas = [], set(), 0
                continue
            most = min(max(room, 1), _MOST_IN_GROUP)
            taken, calls = (calls[:most], calls[most:]) if len(calls) > most else (calls, [])
            part.append(_Column(head, target, taken))
            seen.add(target)
            gas += first + GAS_PER_NEXT_CALL * (len(taken) - 1)
    if part:
        yield part


def _gas(columns: Sequence[_Column]) -> int:
    calls = sum(len(column.calls) for column in columns)
    targets = len({column.target for column in columns})
    return GAS_PER_NEXT_CALL * calls + (GAS_PER_CALL - GAS_PER_NEXT_CALL) * targets


def _packed(part: Sequence[_Column]) -> Packed:
    """One eth_call; neighbours of one shape that are asked the same are a group."""
    groups: list[tuple[bytes, list[tuple[object, ...]], list[_Column]]] = []
    for column in part:
        args = [call.args for call in column.calls]
        last = groups[-1] if groups else None
        if last and last[0] == column.head and last[1] == args and len(last[2]) < _MOST_IN_GROUP:
            last[2].append(column)
        else:
            groups.append((column.head, args, [column]))
    pieces, columns = [b""], []
    for head, args, group in groups:
        pieces.append(head + len(group).to_bytes(2, "big") + len(args).to_bytes(2, "big"))
        pieces.append(_addresses([column.target for column in group]))
        pieces.append(_arguments(head[4], args))
        columns.append((head[5], tuple(call for column in group for call in column.calls)))
    count = sum(len(calls) for _, calls in columns)
    pieces[0] = count.to_bytes(3, "big")
    return Packed("0x" + b"".join(pieces).hex(), tuple(columns), count)


def _addresses(texts: Sequence[object]) -> bytes:
    """20 bytes each; raises ValueError for what is no address."""
    digits = [text[2:] for text in texts if isinstance(text, str) and len(text) == _ADDRESS_CHARS]
    raw = bytes.fromhex("".join(digits))
    # White space, which fromhex passes over, is no hex.
    if len(raw) != _ADDRESS_BYTES * len(texts):
        raise ValueError("what should be an address is none")
    return raw


def _arguments(width: int, args: Sequence[tuple[object, ...]]) -> bytes:
    if any(len(arg) != (width > 0) for arg in args):
        raise ValueError("other arguments than the signature says")
    if width == 0:
        return b""
    if width == _ADDRESS_BYTES:
        return _addresses([arg[0] for arg in args])
    words = [arg[0] for arg in args if isinstance(arg[0], int)]
    if len(words) != len(args):
        raise ValueError("what should be a word is none")
    return b"".join(number.to_bytes(_WORD, "big") for number in words)
