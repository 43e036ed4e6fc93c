"""What tokens call themselves: strings, bytes32, and what a stranger may write there."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from readers_fake_node import REVERT, FakeNode, network, word

from rebalancer.readers.metadata import Metadata, decode_text, read_metadata

NET = network()
A, B, C = ("0x" + digit * 40 for digit in "123")


def string(text: str) -> bytes:
    return encode(["string"], [text])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (string("USDC"), "USDC"),
        (string("USD₮0"), "USD?0"),
        (string("stkAAVE-v2.1"), "stkAAVE-v2.1"),
        (b"MKR".ljust(32, b"\0"), "MKR"),  # bytes32, as Maker's
        (b"x" * 32, "x" * 32),
        (bytes(32), None),
        (string(""), None),
        (b"", None),
        (b"\x01\x02", None),
        (word(2**255, 5), None),  # an offset beyond everything
        (string("\x1b[31mred\x1b[0m"), "??31mred??0m"),  # a terminal's colours
        (string("[bold]A[/bold]"), "?bold?A?/bold?"),  # a table's markup
        (string("A\nB\u202eC"), "A?B?C"),  # a line break, and text from right to left
        (encode(["bytes"], [b"\xff\xfeA"]), "??A"),
        (string("L" * 10_000), "L" * 32),
    ],
)
def test_text__is_harmless_or_none(data: bytes, text: str | None) -> None:
    assert decode_text(data) == text


def test_metadata__of_three__one_of_them_broken() -> None:
    node = FakeNode({})
    for address, symbol, decimals in (
        (A, string("AAA"), word(0)),
        (B, REVERT, REVERT),
        (C, b"CCC".ljust(32, b"\0"), word(30)),
    ):
        node.put(address, "symbol()", (), symbol)
        node.put(address, "decimals()", (), decimals)
    found = read_metadata(node, NET.multicall3, [A, B, C], node.block_hash(100))
    assert found == (Metadata(A, "AAA", 0), Metadata(B, None, None), Metadata(C, "CCC", 30))
    assert len(node.requests) == 2  # the second because of B


def test_metadata__of_no_contract_and_of_nonsense() -> None:
    node = FakeNode({})
    node.put(A, "symbol()", (), string("AAA"))
    node.put(A, "decimals()", (), word(256))
    found = read_metadata(node, NET.multicall3, [A, B], node.block_hash(100))
    assert found == (Metadata(A, "AAA", None), Metadata(B, None, None))
    assert len(node.requests) == 1
