"""The codec of aggregate3 written out: eth-abi's bytes, and its answer to every answer."""

from __future__ import annotations

import contextlib

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.evm.abi import encode_call
from rebalancer.readers.aggregate import decode_results, encode_calls, encoded_size

AGGREGATE3 = "aggregate3((address,bool,bytes)[])"
ROWS = ["(bool,bytes)[]"]
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
calls = st.lists(st.tuples(addresses, st.binary(max_size=100)), max_size=8)
rows = st.lists(st.tuples(st.booleans(), st.binary(max_size=100)), max_size=8)


@given(calls)
def test_encode__is_what_eth_abi_encodes(asked: list[tuple[str, bytes]]) -> None:
    encoded = encode_calls(asked)
    assert encoded == encode_call(AGGREGATE3, [(to, True, data) for to, data in asked])
    assert len(encoded) == 4 + 64 + sum(encoded_size(data) for _, data in asked)


@given(rows)
def test_decode__is_what_was_encoded(told: list[tuple[bool, bytes]]) -> None:
    assert decode_results(encode(ROWS, [told])) == told


@settings(max_examples=500)
@given(st.data())
def test_decode__damaged_answers__never_another_one_than_eth_abi(data: st.DataObject) -> None:
    """Cut off, or with some bytes exchanged: refused, or read as eth-abi reads it."""
    good = encode(ROWS, [data.draw(rows)])
    bad = bytearray(good[: data.draw(st.integers(0, len(good)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if bad:
            bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    theirs = None
    with contextlib.suppress(DecodingError, OverflowError):
        theirs = list(decode(ROWS, bytes(bad))[0])
    try:
        ours = decode_results(bytes(bad))
    except ValueError:
        assert theirs is None
    else:
        # eth-abi also refuses padding that is not zero, which says nothing of the data.
        assert theirs in (None, ours)
