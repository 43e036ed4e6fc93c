"""The short way through the ABI codec: the values and the refusals of eth-abi."""

from __future__ import annotations

import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, ValueOutOfBounds
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.evm.abi import decode_output, encode_call, selector

WIDTHS = (8, 32, 80, 112, 160, 256)
types = st.lists(st.sampled_from([f"uint{bits}" for bits in WIDTHS]), min_size=1, max_size=5)


@given(types, st.data())
def test_decode__uints__are_those_of_eth_abi(kinds: list[str], data: st.DataObject) -> None:
    """Words of any size, too few and too many of them."""
    words = data.draw(
        st.lists(
            st.one_of(*(st.integers(0, 2**bits - 1) for bits in WIDTHS)), max_size=len(kinds) + 1
        )
    )
    raw = b"".join(word.to_bytes(32, "big") for word in words) + data.draw(st.binary(max_size=31))
    try:
        expected = decode(kinds, raw)
    except DecodingError:
        with pytest.raises(DecodingError):
            decode_output(kinds, raw)
    else:
        assert decode_output(kinds, raw) == expected


@pytest.mark.parametrize("kinds", [("int256",), ("bool", "uint8"), ("uint8[]",), ("address",)])
def test_decode__other_types__are_left_to_eth_abi(kinds: tuple[str, ...]) -> None:
    values = {
        "int256": -1,
        "bool": True,
        "uint8": 3,
        "uint8[]": (1, 2),
        "address": "0x" + "ab" * 20,
    }
    wanted = tuple(values[kind] for kind in kinds)
    assert decode_output(kinds, encode(kinds, wanted)) == wanted


def test_encode__no_arguments__is_the_selector() -> None:
    assert encode_call("totalSupply()") == selector("totalSupply()")
    with pytest.raises(ValueOutOfBounds):
        encode_call("totalSupply()", 1)
