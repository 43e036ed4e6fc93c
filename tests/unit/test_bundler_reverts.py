"""Revert data in words."""

from __future__ import annotations

import pytest

from rebalancer.bundler.reverts import decode_revert, revert_of
from rebalancer.evm.abi import encode_call, to_hex


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (encode_call("Error(string)", "UniswapV2: K"), "UniswapV2: K"),
        (encode_call("Error(string)", ""), ""),
        (encode_call("Error(string)", "GS013"), "GS013: what the Safe was to execute reverts"),
        (encode_call("Error(string)", "GS099"), "GS099"),
        (encode_call("Panic(uint256)", 0x11), "panic 0x11: arithmetic overflow or underflow"),
        (encode_call("Panic(uint256)", 0x99), "panic 0x99: unknown code"),
        (bytes.fromhex("deadbeef") + bytes(32), "custom error 0xdeadbeef"),
        (bytes.fromhex("08c379a0"), "custom error 0x08c379a0"),  # cut short
        (encode_call("Error(string)", "x")[:40], "custom error 0x08c379a0"),
        (b"\x01", "custom error 0x01"),
    ],
)
def test_reasons(data: bytes, text: str) -> None:
    assert decode_revert(data) == text


def test_no_data_says_what_that_can_mean() -> None:
    assert "no reason given" in decode_revert(b"")


def test_a_hostile_reason_cannot_play_with_the_terminal_or_flood_it() -> None:
    text = decode_revert(encode_call("Error(string)", "\x1b[2J\n" + "a" * 10_000))
    assert text.startswith("?[2J?aaa")
    assert len(text) < 250
    assert text.isprintable()


def test_bytes_that_are_no_text_do_not_raise() -> None:
    good = encode_call("Error(string)", "aaaa")
    assert decode_revert(good.replace(b"aaaa", b"\xff\xfe\xff\xfe"))


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: {"data": data}])
def test_json_rpc_errors_carry_it_in_two_shapes(wrap: object) -> None:
    data = to_hex(encode_call("Error(string)", "no"))
    assert revert_of(wrap(data)) == "no"  # type: ignore[operator]


@pytest.mark.parametrize("data", [None, 5, "nothing", {"data": None}, "0xzz", "0x123"])
def test_what_is_no_revert_data_is_none(data: object) -> None:
    assert revert_of(data) is None
