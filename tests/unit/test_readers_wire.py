"""Hex data from a node: as bytes, or refused."""

from __future__ import annotations

import tracemalloc

import pytest

from rebalancer.errors import RpcUnavailable
from rebalancer.readers.wire import as_data


@pytest.mark.parametrize(("text", "data"), [("0x", b""), ("0x00fF", b"\x00\xff")])
def test_data__is_bytes(text: str, data: bytes) -> None:
    assert as_data(text, "eth_call") == data


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "0",
        "00ff",
        "0X00",
        "0x0",
        "0xgg",
        "0x00 ff",
        "0x 00ff",
        "0x00ff\n",
        " 0x00",
        "0x\u0660\u0660",
        7,
    ],
)
def test_data__anything_else_is_refused(nonsense: object) -> None:
    with pytest.raises(RpcUnavailable, match=r"^the node's answer for eth_call is not hex data"):
        as_data(nonsense, "eth_call")


def test_data__a_megabyte__takes_no_more_than_itself() -> None:
    text = "0x" + "ab" * 2**20
    tracemalloc.start()
    try:
        data = as_data(text, "eth_call")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(data) == 2**20
    assert peak < 4 * len(data)
