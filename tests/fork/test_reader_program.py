"""The reader's program on a real EVM: what its fake says, and that one call's gas is its own."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from reader_program import run_program

from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.hostile import KINDS
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.readers.call import Call
from rebalancer.readers.packed import ADDRESS, Answers, pack, program
from rebalancer.readers.reader import read

#: Says what it was asked: its calldata, padded to words, after which it stops.
#: CALLDATACOPY(0, 0, CALLDATASIZE); RETURN(0, 160).
ECHO = "0x36600060003760a06000f3"
#: Returns how much gas it has, less 1,000,000: GAS; SUB; MSTORE; RETURN(0, 32).
GAS_LEFT = "0x620f42405a0360005260206000f3"
#: Writes to its storage, then returns 7: a view that is none.
WRITES = "0x6001600055600760005260206000f3"


def target(kind: int, number: int = 0) -> str:
    return f"0x{0xE0 + kind:02x}{number:038x}"


@pytest.fixture
def chain(devchain: DevChain) -> DevChain:
    codes = [ECHO, GAS_LEFT, WRITES, *KINDS.values()]
    devchain.rpc.batch([("anvil_setCode", (target(i), code)) for i, code in enumerate(codes)])
    devchain.rpc.call("evm_mine")
    return devchain


def ask(chain: DevChain, *calls: Call) -> Answers:
    packed = pack(calls)
    assert packed is not None
    found = read(chain.rpc, packed, chain.block_hash)
    assert found is not None
    return found


def echo(_: str, data: bytes) -> bytes:
    return data.ljust(160, b"\0")[:160]


@pytest.mark.parametrize("seed", range(6))
def test_program__any_groups__are_answered_as_the_fake_does(chain: DevChain, seed: int) -> None:
    """Every call is for a contract that repeats its calldata: so the answer shows what was sent."""
    random = Random(seed)  # noqa: S311
    data, count = b"", 0
    for _ in range(random.randint(1, 6)):
        width, words = random.choice((0, 20, 32)), random.randint(1, 5)
        targets = random.randint(1, 5)
        args = random.randint(1, 5) if width else 1
        data += random.randbytes(4) + bytes((width, words))
        data += targets.to_bytes(2, "big") + args.to_bytes(2, "big")
        data += from_hex(target(0)) * targets + random.randbytes(width * args)
        count += targets * args
    data = count.to_bytes(3, "big") + data
    at = {"blockHash": chain.block_hash}
    override = {ADDRESS: {"code": program()}}
    answer = chain.rpc.call("eth_call", {"to": ADDRESS, "data": to_hex(data)}, at, override)
    assert from_hex(answer) == run_program(data, echo)


def test_program__every_call_has_the_same_gas__whoever_was_before_it(chain: DevChain) -> None:
    """Also after all that burn what they get, and as the last of hundreds."""
    gas = Call(target(1), "gas()")
    # A million less the five that were used up to there.
    alone = 2**256 - 5
    assert ask(chain, gas)[gas].values() == (alone,)
    bad = [Call(target(3 + i), f"f{j}()") for i in range(len(KINDS)) for j in range(2)]
    last = Call(target(1), "last()")
    found = ask(chain, gas, *bad, last)
    assert found[gas].values() == found[last].values() == (alone,)
    many = [Call(target(1), "of(uint256)", (i,)) for i in range(700)]
    assert {r.values() for r in ask(chain, *many).values()} == {(alone,)}


def test_program__little_gas__leaves_out_the_rest_and_starves_nobody(chain: DevChain) -> None:
    """With any gas from none for a call on, those that were made are answered as with plenty."""
    calls = [Call(target(1), "of(uint256)", (i,)) for i in range(40)]
    plenty = ask(chain, *calls)
    packed = pack(calls) or []
    seen = set()
    for gas in (900_000, 1_131_000, 1_150_000, 1_200_000, 10_000_000):

        class Scarce:
            def call(self, method: str, *params: Any) -> Any:
                transaction, *rest = params
                return chain.rpc.call(method, {**transaction, "gas": hex(gas)}, *rest)  # noqa: B023

            def batch(self, calls: Any) -> list[Any]:
                raise AssertionError("not asked")

        found = read(Scarce(), packed, chain.block_hash)
        assert found is None or dict(found) == dict(plenty)
        seen.add(found is None)
    assert seen == {True, False}


def test_program__writes_nothing(chain: DevChain) -> None:
    """A contract whose view writes cannot change what those after it answer."""
    writes, echoes = Call(target(2), "totalSupply()"), Call(target(0), "f()")
    found = ask(chain, writes, echoes)
    assert found[writes].failure == "totalSupply() reverts"
    assert found[echoes].values() is not None


def test_program__hostile_kinds__each_by_its_own_name(chain: DevChain) -> None:
    calls = {kind: Call(target(3 + i), "totalSupply()") for i, kind in enumerate(KINDS)}
    found = ask(chain, *calls.values())
    failures = {
        kind: found[call].failure.removeprefix("totalSupply() ")
        for kind, call in calls.items()
        if found[call].values() is None
    }
    nothing = "returns nothing, as an address without code does"
    assert failures == {
        "REVERTS": "reverts",
        "REVERTS_LOUDLY": "reverts",
        "NOTHING": nothing,
        "NO_CODE": nothing,
        "GARBAGE": "returns what does not decode",
        "LOOPS": "reverts",
        "INVALID": "reverts",
        "BOMB": "reverts",
    }
    assert found[calls["FLOOD"]].values() == (0,)
