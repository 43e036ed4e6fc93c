"""Random histories of one pair, on the official bytecode and in our integers side by side.

A history is a list of steps, each a block: somebody adds, removes or sends shares, trades, or moves
tokens, or the protocol fee is switched. ``Book`` keeps what we expect; ``simulate`` runs the same
steps on the contract in one ``eth_simulateV1`` and returns what it said after each.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from amm_official_pair import (
    FACTORY,
    FACTORY_FEE_TO,
    FEE_TO,
    PAIR,
    READ_STATE,
    TOKEN0,
    TOKEN1,
    make_pair,
)
from eth_utils.crypto import keccak

from rebalancer.amm import apply_burn, apply_mint, apply_swap, effective_total_supply, redeemable
from rebalancer.amm.lots import remove
from rebalancer.errors import Infeasible
from rebalancer.evm.abi import encode_call, from_hex, to_hex
from rebalancer.evm.rpc import HttpRpc
from rebalancer.model import (
    E8,
    Amount,
    BlockRef,
    Flow,
    FlowKind,
    LpEntry,
    LpHolding,
    LpLot,
    PairState,
    Price,
    Snapshot,
    Token,
)

MAKER, ALICE, BOB = (f"0x{number:040x}" for number in (0x3A, 0xA11CE, 0xB0B))
HOLDERS = (MAKER, ALICE, BOB)
RICH = 2**111
NAME = "official:T0/T1"
NATIVE = Price(Token("0x" + "00" * 20, "ETH", 18), 1, 1, "none", 0)
Call = tuple[str, str, bytes]


@dataclass(frozen=True)
class Step:
    """A block: its calls, and what the pair and the holders should have after it."""

    calls: tuple[Call, ...]
    pair: PairState
    shares: dict[str, int]
    tokens: tuple[int, int]
    lots: tuple[LpLot, ...]
    flows: tuple[Flow, ...]
    paid: tuple[int, int] | None = None


@dataclass
class Book:
    """What we expect, step by step; ``tokens`` are Alice's."""

    dice: random.Random
    pair: PairState
    shares: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*HOLDERS, FEE_TO), 0))
    tokens: list[int] = field(default_factory=lambda: [RICH, RICH])
    lots: tuple[LpLot, ...] = ()
    steps: list[Step] = field(default_factory=list)

    def grow(self, steps: int) -> list[Step]:
        """Take random steps; one that the contract would refuse is not taken."""
        self.add(MAKER)
        kinds: list[tuple[Callable[[], None], int]] = [
            (lambda: self.add(self.dice.choice(HOLDERS)), 3),
            (lambda: self.add(ALICE), 3),
            (lambda: self.burn(self.dice.choice(HOLDERS)), 2),
            (lambda: self.burn(ALICE), 2),
            (self.swap, 7),
            (lambda: self.send(BOB, ALICE), 1),
            (lambda: self.send(ALICE, BOB), 1),
            (self.move_tokens, 2),
        ]
        choice = [kind for kind, weight in kinds for _ in range(weight)]
        while len(self.steps) < steps:
            try:
                self.dice.choice(choice)()
            except Infeasible:
                continue
        return self.steps

    def add(self, who: str) -> None:
        if self.pair.total_supply == 0:
            amounts = [self.dice.randrange(10**6, 10 ** self.dice.randrange(7, 28)) for _ in "01"]
        else:
            part = 10 ** self.dice.randrange(0, 7)
            amounts = [
                self.pair.reserve0 * self.dice.randrange(1, part + 1) // part,
                self.pair.reserve1 * self.dice.randrange(1, part + 1) // part,
            ]
            if self.dice.random() < 0.7:
                amounts[1] = amounts[0] * self.pair.reserve1 // self.pair.reserve0
        before = self.pair
        self.pair, shares = apply_mint(before, *amounts)
        self._protocol(before)
        self.shares[who] += shares
        mint = encode_call("mint(address)", who)
        flows: list[Flow] = []
        if who == ALICE:
            entry = LpEntry(
                len(self.steps), self.pair.reserve0, self.pair.reserve1, self.pair.total_supply
            )
            self.lots = (*self.lots, LpLot("added", entry, shares, shares, *amounts))
            flows = self._flows("trade", -amounts[0], -amounts[1], shares)
        self._step([*self._pay(who, amounts), (who, PAIR, mint)], flows)

    def burn(self, who: str, shares: int | None = None) -> None:
        shares = self._part(who) if shares is None else shares
        before = self.pair
        self.pair, amount0, amount1 = apply_burn(before, shares)
        self._protocol(before)
        self.shares[who] -= shares
        flows: list[Flow] = []
        if who == ALICE:
            self.lots = remove(self.lots, shares)
            flows = self._flows("trade", amount0, amount1, -shares)
        send = encode_call("transfer(address,uint256)", PAIR, shares)
        burn = encode_call("burn(address)", who)
        self._step([(who, PAIR, send), (who, PAIR, burn)], flows, (amount0, amount1))

    def swap(self) -> None:
        who = self.dice.choice((MAKER, ALICE))
        token_in = self.dice.choice((self.pair.token0, self.pair.token1))
        reserve, _ = self.pair.reserves(token_in)
        amount_in = reserve * self.dice.randrange(1, 10**6) // 10 ** self.dice.randrange(5, 9)
        amount_in = max(amount_in, 1)
        zero_in = token_in == self.pair.token0
        if who == ALICE and amount_in > self.tokens[0 if zero_in else 1]:
            raise Infeasible("not rich enough")
        self.pair, out = apply_swap(self.pair, token_in, amount_in)
        paid = (amount_in, 0) if zero_in else (0, amount_in)
        outs = (0, out) if zero_in else (out, 0)
        data = encode_call("swap(uint256,uint256,address,bytes)", *outs, who, b"")
        flows: list[Flow] = []
        if who == ALICE:
            flows = self._flows("trade", outs[0] - paid[0], outs[1] - paid[1], 0)
        self._step([*self._pay(who, paid), (who, PAIR, data)], flows)

    def send(self, sender: str, receiver: str) -> None:
        shares = self._part(sender)
        self.shares[sender] -= shares
        self.shares[receiver] += shares
        kind: FlowKind = "withdrawal"
        signed = -shares
        if receiver == ALICE:
            kind, signed = "deposit", shares
            supply = effective_total_supply(self.pair)
            entry = LpEntry(len(self.steps), self.pair.reserve0, self.pair.reserve1, supply)
            worth = redeemable(self.pair, shares)
            self.lots = (*self.lots, LpLot("received", entry, shares, shares, *worth))
        else:
            self.lots = remove(self.lots, shares)
        data = encode_call("transfer(address,uint256)", receiver, shares)
        self._step([(sender, PAIR, data)], self._flows(kind, 0, 0, signed))

    def move_tokens(self) -> None:
        index, raw = self.dice.randrange(2), self.dice.randrange(1, 10**12)
        token, into = (TOKEN0, TOKEN1)[index], self.dice.random() < 0.5
        sender, receiver = (MAKER, ALICE) if into else (ALICE, MAKER)
        data = encode_call("transfer(address,uint256)", receiver, raw)
        moved = [0, 0]
        moved[index] = raw if into else -raw
        flows = self._flows("deposit" if into else "withdrawal", *moved, 0)
        self._step([(sender, token, data)], flows)

    def _part(self, who: str) -> int:
        held = self.shares[who]
        if held == 0:
            raise Infeasible("nothing is held")
        return held if self.dice.random() < 0.2 else max(held * self.dice.randrange(1, 99) // 99, 1)

    def _protocol(self, before: PairState) -> None:
        self.shares[FEE_TO] += effective_total_supply(before) - before.total_supply

    def _flows(self, kind: FlowKind, raw0: int, raw1: int, shares: int) -> list[Flow]:
        self.tokens[0] += raw0
        self.tokens[1] += raw1
        number = len(self.steps)
        raws = {TOKEN0: raw0, TOKEN1: raw1, PAIR: shares}
        return [Flow(number, hex(number), kind, a, raw) for a, raw in raws.items() if raw]

    @staticmethod
    def _pay(who: str, amounts: Sequence[int]) -> list[Call]:
        return [
            (who, token, encode_call("transfer(address,uint256)", PAIR, raw))
            for token, raw in zip((TOKEN0, TOKEN1), amounts, strict=True)
            if raw
        ]

    def _step(
        self, calls: list[Call], flows: list[Flow], paid: tuple[int, int] | None = None
    ) -> None:
        self.steps.append(
            Step(
                tuple(calls),
                self.pair,
                dict(self.shares),
                (self.tokens[0], self.tokens[1]),
                self.lots,
                tuple(flows),
                paid,
            )
        )


def history(seed: int, steps: int, protocol_fee_on: bool) -> list[Step]:
    """A random history; every seed has one."""
    pair = replace(make_pair(0, 0), protocol_fee_on=protocol_fee_on)
    return Book(dice_of(seed), pair).grow(steps)


def dice_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same dice every time


def snapshot(step: Step, number: int, prices: tuple[Price, Price]) -> Snapshot:
    """Alice's portfolio after ``step``, at ``prices``."""
    pair = step.pair
    holding = LpHolding(PAIR, step.shares[ALICE], None, lots=step.lots)
    return Snapshot(
        block=BlockRef(1, number, hex(number), 12 * number, 0),
        wallet=ALICE,
        numeraire="USD",
        native=NATIVE,
        native_wei=0,
        balances=(Amount(pair.token0, step.tokens[0]), Amount(pair.token1, step.tokens[1])),
        holdings=(holding,),
        pairs=(pair,),
        prices=prices,
        priority_fee_wei=0,
    )


def random_prices(dice: random.Random, pair: PairState) -> tuple[Price, Price]:
    """Prices that have nothing to do with the pool's."""
    return (
        Price(pair.token0, dice.randrange(1, 10**6) * E8, 10**18, "dice", 0),
        Price(pair.token1, dice.randrange(1, 10**6) * E8, dice.randrange(1, 10**9), "dice", 0),
    )


def overrides(protocol_fee_on: bool) -> dict[str, Any]:
    """Everybody is rich, the pair is empty and has its factory's fee."""
    rich = {_slot(who): _word(RICH) for who in (MAKER, ALICE, BOB)}
    fee_to = int(FEE_TO, 16) if protocol_fee_on else 0
    return {
        TOKEN0: {"stateDiff": rich},
        TOKEN1: {"stateDiff": rich},
        FACTORY: {"stateDiff": {_word(FACTORY_FEE_TO): _word(fee_to)}},
    }


@dataclass(frozen=True)
class Answer:
    """What the contracts said after a step; ``returned`` by the last of its own calls."""

    returned: bytes
    state: tuple[int, int, int, int]
    shares: dict[str, int]
    tokens: tuple[int, int]


def simulate(rpc: HttpRpc, steps: Sequence[Step], protocol_fee_on: bool) -> list[Answer]:
    """The steps on the official bytecode, one after the other; every call must succeed."""
    owners = (*HOLDERS, FEE_TO)
    reads: list[tuple[str, bytes]] = [(PAIR, data) for data in READ_STATE]
    reads += [(PAIR, encode_call("balanceOf(address)", owner)) for owner in owners]
    reads += [(token, encode_call("balanceOf(address)", ALICE)) for token in (TOKEN0, TOKEN1)]
    blocks: list[dict[str, Any]] = []
    for step in steps:
        calls = [*step.calls, *((ALICE, to, data) for to, data in reads)]
        blocks.append(
            {
                "calls": [
                    {"from": sender, "to": to, "gas": hex(1_000_000), "data": to_hex(data)}
                    for sender, to, data in calls
                ]
            }
        )
    blocks[0]["stateOverrides"] = overrides(protocol_fee_on)
    answers = []
    for step, block in zip(
        steps, rpc.call("eth_simulateV1", {"blockStateCalls": blocks}, "latest"), strict=True
    ):
        outcomes = block["calls"]
        assert all(outcome["status"] == "0x1" for outcome in outcomes), outcomes
        data = [from_hex(outcome["returnData"]) for outcome in outcomes]
        own, rest = data[: len(step.calls)], data[len(step.calls) :]
        words = [int.from_bytes(item[:32], "big") for item in rest]
        reserve1 = int.from_bytes(rest[0][32:64], "big")
        answers.append(
            Answer(
                returned=own[-1],
                state=(words[0], reserve1, words[1], words[2]),
                shares=dict(zip(owners, words[3:7], strict=True)),
                tokens=(words[7], words[8]),
            )
        )
    return answers


def _word(value: int) -> str:
    return f"0x{value:064x}"


def _slot(owner: str) -> str:
    """Slot of ``balanceOf[owner]`` of the official ERC-20."""
    return to_hex(keccak(bytes.fromhex(f"{int(owner, 16):064x}{1:064x}")))
