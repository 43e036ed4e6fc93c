"""An account that delegates to the wallet executor obeys itself, and is as useful as before."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from executor_world import UNIT, World, execute_data
from test_executor_steps import Caller, refusal, swap, transact

from rebalancer.bundler.executor import WALLET_EXECUTOR
from rebalancer.evm.abi import decode_output, encode_call, from_hex, to_hex
from rebalancer.evm.rpc import RpcError

NOT_THE_WALLET = "executor: caller is not the wallet"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
VALID, NOT_VALID = "0x1626ba7e", "0xffffffff"


@pytest.fixture
def wallet(world: World) -> Caller:
    return Caller(world, as_wallet=True)


def ask(world: World, to: str, data: bytes, sender: str | None = None) -> bytes:
    request = {"from": sender or world.bob.address, "to": to, "data": to_hex(data)}
    return from_hex(world.rpc.call("eth_call", request, "latest"))


@pytest.mark.parametrize("who", ["deployer", "bob", "mallory", "executor"])
def test_execute__by_anybody_else__is_refused(world: World, wallet: Caller, who: str) -> None:
    sender = str(getattr(world, who).address)
    request = wallet.request(swap(world, 0, 1, UNIT)) | {"from": sender}

    assert refusal(world, request) == NOT_THE_WALLET


@pytest.mark.parametrize("who", ["deployer", "alice", "bob", "mallory"])
def test_execute__called_as_a_contract_of_its_own__is_refused(
    world: World, wallet: Caller, who: str
) -> None:
    sender = str(getattr(world, who).address)
    request = wallet.request(swap(world, 0, 1, UNIT))

    changed = request | {"from": sender, "to": WALLET_EXECUTOR.address}
    assert refusal(world, changed) == NOT_THE_WALLET


def test_execute__needs_no_allowance(world: World, wallet: Caller) -> None:
    token = world.tokens[0]
    token.approve(world.executor, 0, sender=world.alice)
    bought = world.pools[0, 1].quote(token, UNIT)
    before = world.tokens[1].balanceOf(world.alice)

    wallet.does(swap(world, 0, 1, UNIT, bought))

    assert world.tokens[1].balanceOf(world.alice) == before + bought


def test_execute__hostile_pair_calls_back__is_not_the_wallet(world: World, wallet: Caller) -> None:
    import ape

    from rebalancer.bundler.steps import Swap

    pair = world.mallory.deploy(ape.project.HostilePair)
    theft = execute_data(world.pools[0, 1].leg(world.tokens[0], UNIT))
    pair.plot(10**24, 10**24, wallet.address, theft, sender=world.mallory)
    before = [token.balanceOf(world.alice) for token in world.tokens]
    t0, t1 = (str(token.address) for token in world.tokens[:2])

    wallet.does(Swap(str(pair.address), t0, t1, 3_000, UNIT, 1))

    assert pair.succeeded() is False
    after = [token.balanceOf(world.alice) for token in world.tokens]
    assert after == [before[0] - UNIT, *before[1:]]


# As useful as before.


@pytest.mark.parametrize("data", ["0x", "0x12", "0x12345678", "0x" + "ab" * 100])
def test_ether__with_any_data__is_taken(world: World, wallet: Caller, data: str) -> None:
    before = world.alice.balance

    transact(
        world,
        {"from": world.bob.address, "to": wallet.address, "data": data, "value": hex(10**18)},
    )

    assert world.alice.balance == before + 10**18
    assert ask(world, wallet.address, from_hex(data)) == b""


def test_ether__with_a_stipend_only__is_taken(world: World, wallet: Caller) -> None:
    # WETH pays out by `transfer`, which leaves 2,300 gas.
    from executor_world import official

    weth = world.deployer.deploy(official("WETH9", "v2-periphery"))
    weth.deposit(value=10**18, sender=world.alice)
    before = world.alice.balance
    data = to_hex(encode_call("withdraw(uint256)", 10**18))

    transact(world, {"from": wallet.address, "to": str(weth.address), "data": data})

    assert world.alice.balance > before + 10**18 - 10**16


@pytest.mark.parametrize(
    ("signature", "arguments"),
    [
        ("onERC721Received(address,address,uint256,bytes)", (5, b"")),
        ("onERC721Received(address,address,uint256,bytes)", (5, b"x" * 5_000)),
        ("onERC1155Received(address,address,uint256,uint256,bytes)", (5, 6, b"y")),
        (
            "onERC1155BatchReceived(address,address,uint256[],uint256[],bytes)",
            ([1, 2], [3, 4], b"z"),
        ),
    ],
)
def test_nft__arriving__is_welcome(
    world: World, wallet: Caller, signature: str, arguments: tuple[Any, ...]
) -> None:
    bob = world.bob.address
    data = encode_call(signature, bob, bob, *arguments)

    assert ask(world, wallet.address, data) == data[:4] + bytes(28)


@pytest.mark.parametrize(
    ("interface", "supported"),
    [
        ("01ffc9a7", True),
        ("1626ba7e", True),
        ("150b7a02", True),
        ("4e2312e0", True),
        ("ffffffff", False),
        ("80ac58cd", False),
    ],
)
def test_supports_interface__is_what_it_does(
    world: World, wallet: Caller, interface: str, supported: bool
) -> None:
    data = encode_call("supportsInterface(bytes4)", bytes.fromhex(interface))
    (answer,) = decode_output(["bool"], ask(world, wallet.address, data))
    assert answer is supported


def signature_of(key: Any, digest: bytes) -> tuple[int, int, int]:
    signed = Account.unsafe_sign_hash(digest, key)
    return signed.r, signed.s, signed.v


def packed(r: int, s: int, v: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])


def says(world: World, to: str, digest: bytes, signature: bytes) -> str:
    data = encode_call("isValidSignature(bytes32,bytes)", digest, signature)
    return to_hex(ask(world, to, data)[:4])


def test_signature__of_the_wallets_key__is_valid(world: World, wallet: Caller) -> None:
    digest = keccak(b"a permit")
    r, s, v = signature_of(world.alice.private_key, digest)

    assert says(world, wallet.address, digest, packed(r, s, v)) == VALID
    wrong = {
        "another hash": (keccak(b"another"), packed(r, s, v)),
        "the other s": (digest, packed(r, ORDER - s, 55 - v)),
        "the other v": (digest, packed(r, s, 55 - v)),
        "no v": (digest, packed(r, s, 0)),
        "zeros": (digest, bytes(65)),
        "too short": (digest, packed(r, s, v)[:64]),
        "too long": (digest, packed(r, s, v) + b"\0"),
        "empty": (digest, b""),
        "another key": (digest, packed(*signature_of(world.bob.private_key, digest))),
    }
    for what, (hashed, signature) in wrong.items():
        assert says(world, wallet.address, hashed, signature) == NOT_VALID, what


def test_signature__longer_than_any__is_not_valid(world: World, wallet: Caller) -> None:
    with pytest.raises(RpcError):
        says(world, wallet.address, bytes(32), bytes(1_025))


def test_signature__to_the_contract_itself__is_never_valid(world: World, wallet: Caller) -> None:
    digest = keccak(b"a permit")
    signature = packed(*signature_of(world.alice.private_key, digest))
    assert says(world, WALLET_EXECUTOR.address, digest, signature) == NOT_VALID
    assert says(world, WALLET_EXECUTOR.address, digest, bytes(65)) == NOT_VALID
