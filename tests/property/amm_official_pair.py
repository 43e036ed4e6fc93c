"""Runs the official Uniswap V2 bytecode on states that we choose, many to one request.

Factory, pair and two ERC-20s come from the npm package and are put in place as they are; each case
is an ``eth_simulateV1`` with the storage of the case laid over them, so thousands take a second.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.config.load import PROJECT_ROOT
from rebalancer.evm.abi import decode_output, encode_call, from_hex, to_hex
from rebalancer.evm.rpc import HttpRpc
from rebalancer.model import PairState, Token

BUILD = PROJECT_ROOT / "node_modules" / "@uniswap" / "v2-core" / "build"
BATCH = 250

FACTORY, PAIR, TOKEN0, TOKEN1, FEE_TO, TRADER = (
    f"0x{number:040x}" for number in (0xFAC, 0xA1, 0x70, 0x71, 0xFEE, 0x7AD)
)
#: Storage of UniswapV2Pair, UniswapV2ERC20 (the tokens are one as well) and UniswapV2Factory.
SUPPLY, BALANCES, PAIR_FACTORY, PAIR_TOKEN0, PAIR_TOKEN1, RESERVES, K_LAST, UNLOCKED = (
    0,
    1,
    5,
    6,
    7,
    8,
    11,
    12,
)
FACTORY_FEE_TO = 0

#: ``amountIn.mul(3)`` of the K-check: PUSH1 3, PUSH4 0xffffffff. It stands there once per token.
FEE_CONSTANT = "600363ffffffff"


@dataclass(frozen=True)
class Outcome:
    """What one call did: ``reason`` is empty when it succeeded."""

    data: bytes
    reason: str

    def words(self, *types: str) -> tuple[Any, ...]:
        assert not self.reason, self.reason
        return decode_output(types, self.data)


@dataclass(frozen=True)
class Scene:
    """A pair before calls: what was paid into it, and which shares lie in it to be burned."""

    pair: PairState
    paid0: int = 0
    paid1: int = 0
    burning: int = 0

    def overrides(self) -> dict[str, Any]:
        p = self.pair
        slots = {
            SUPPLY: p.total_supply,
            K_LAST: p.k_last,
            RESERVES: p.reserve0 | p.reserve1 << 112,
        }
        pair = {_word(slot): _word(value) for slot, value in slots.items()}
        pair[_balance_slot(PAIR)] = _word(self.burning)
        fee_to = int(FEE_TO, 16) if p.protocol_fee_on else 0
        return {
            PAIR: {"stateDiff": pair},
            FACTORY: {"stateDiff": {_word(FACTORY_FEE_TO): _word(fee_to)}},
            TOKEN0: {"stateDiff": {_balance_slot(PAIR): _word(p.reserve0 + self.paid0)}},
            TOKEN1: {"stateDiff": {_balance_slot(PAIR): _word(p.reserve1 + self.paid1)}},
        }


#: One case: scenes in order, each with the calls made in it. A call that reverts changes nothing.
Case = Sequence[tuple[Scene, Sequence[bytes]]]


class OfficialPair:
    """The official pair on ``rpc``; ``fee_per_mille`` other than 3 changes that one constant."""

    def __init__(self, rpc: HttpRpc, fee_per_mille: int = 3) -> None:
        self._rpc = rpc
        pair = _runtime("UniswapV2Pair")
        assert pair.count(FEE_CONSTANT) == 2
        pair = pair.replace(FEE_CONSTANT, f"60{fee_per_mille:02x}" + FEE_CONSTANT[4:])
        codes = {
            FACTORY: _runtime("UniswapV2Factory"),
            PAIR: pair,
            TOKEN0: _runtime("ERC20"),
            TOKEN1: _runtime("ERC20"),
        }
        rpc.batch([("anvil_setCode", [where, "0x" + code]) for where, code in codes.items()])
        slots = {PAIR_FACTORY: FACTORY, PAIR_TOKEN0: TOKEN0, PAIR_TOKEN1: TOKEN1, UNLOCKED: "0x1"}
        rpc.batch(
            [
                ("anvil_setStorageAt", [PAIR, _word(slot), _word(int(value, 16))])
                for slot, value in slots.items()
            ]
        )

    def run(self, cases: Sequence[Case]) -> list[list[Outcome]]:
        """Outcomes of every call, case by case; no case sees another."""
        outcomes: list[list[Outcome]] = []
        for start in range(0, len(cases), BATCH):
            requests = [
                ("eth_simulateV1", [_simulation(case), "latest"])
                for case in cases[start : start + BATCH]
            ]
            for blocks in self._rpc.batch(requests):
                outcomes.append([_outcome(call) for block in blocks for call in block["calls"]])
        return outcomes


def make_pair(reserve0: int, reserve1: int, fee_ppm: int = 3_000) -> PairState:
    """A pair of two tokens at the addresses of this module."""
    return PairState(
        address=PAIR,
        amm="official",
        token0=Token(TOKEN0, "T0", 18),
        token1=Token(TOKEN1, "T1", 6),
        fee_ppm=fee_ppm,
        reserve0=reserve0,
        reserve1=reserve1,
        total_supply=0,
        k_last=0,
        protocol_fee_on=False,
    )


def mirrored(pair: PairState) -> PairState:
    """The same pool with its sides exchanged; the tokens stay in place."""
    return replace(pair, reserve0=pair.reserve1, reserve1=pair.reserve0)


def swap(amount0_out: int, amount1_out: int) -> bytes:
    return encode_call("swap(uint256,uint256,address,bytes)", amount0_out, amount1_out, TRADER, b"")


def mint() -> bytes:
    return encode_call("mint(address)", TRADER)


def burn() -> bytes:
    return encode_call("burn(address)", TRADER)


#: Calls that read a pair's whole state, for ``read_state``.
READ_STATE = tuple(encode_call(name) for name in ("getReserves()", "totalSupply()", "kLast()"))


def read_state(before: PairState, outcomes: Sequence[Outcome]) -> PairState:
    """The state that the answers to READ_STATE describe."""
    reserves, supply, k_last = outcomes
    reserve0, reserve1, _ = reserves.words("uint112", "uint112", "uint32")
    return replace(
        before,
        reserve0=reserve0,
        reserve1=reserve1,
        total_supply=supply.words("uint256")[0],
        k_last=k_last.words("uint256")[0],
    )


def _runtime(contract: str) -> str:
    text = (BUILD / f"{contract}.json").read_text()
    code = json.loads(text)["evm"]["deployedBytecode"]["object"]
    assert isinstance(code, str)
    return code


def _simulation(case: Case) -> dict[str, Any]:
    return {
        "blockStateCalls": [
            {
                "stateOverrides": scene.overrides(),
                "calls": [
                    {"from": TRADER, "to": PAIR, "gas": hex(1_000_000), "data": to_hex(data)}
                    for data in calls
                ],
            }
            for scene, calls in case
        ]
    }


def _outcome(call: dict[str, Any]) -> Outcome:
    data = from_hex(call["returnData"])
    if call["status"] == "0x1":
        return Outcome(data, "")
    if data[:4] == keccak(text="Error(string)")[:4]:
        return Outcome(data, str(decode_output(["string"], data[4:])[0]))
    return Outcome(data, "reverted without a reason")


def _word(value: int) -> str:
    return f"0x{value:064x}"


def _balance_slot(owner: str) -> str:
    """Slot of ``balanceOf[owner]``, a Solidity mapping."""
    return to_hex(keccak(bytes.fromhex(f"{int(owner, 16):064x}{BALANCES:064x}")))
