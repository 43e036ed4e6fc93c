"""State files that are none: each one clear line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rebalancer.devchain.state import read_state
from rebalancer.errors import ConfigError

HASH = "0x" + "ab" * 32
ACCOUNT = "0x" + "11" * 20
GOOD: dict[str, Any] = {
    "block": {"number": "0x64", "timestamp": "0x3e8", "baseFeePerGas": "0x7"},
    "pre_state": {
        ACCOUNT: {"balance": "0x5", "nonce": 3, "code_hash": HASH, "storage": {"0x1": "0x2"}}
    },
}


def _file(folder: Path, document: Any, codes: Any) -> Path:
    path = folder / "blocks" / "100.json.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    (folder / "codes_by_hash.json.gz").write_bytes(gzip.compress(json.dumps(codes).encode()))
    return path


def test_read_state__good_file__is_header_and_writes(tmp_path: Path) -> None:
    state = read_state(_file(tmp_path, GOOD, {HASH: "0x60"}))
    assert (state.number, state.timestamp, state.base_fee_wei) == (100, 1000, 7)
    assert state.writes == (
        ("anvil_setBalance", (ACCOUNT, "0x5")),
        ("anvil_setNonce", (ACCOUNT, "0x3")),
        ("anvil_setCode", (ACCOUNT, "0x60")),
        ("anvil_setStorageAt", (ACCOUNT, f"0x{1:064x}", f"0x{2:064x}")),
    )
    # The Anvil starts one block earlier, so that the block it mines is this one.
    assert (state.options.block_number, state.options.timestamp) == (99, 988)


def test_read_state__before_london__gets_a_base_fee(tmp_path: Path) -> None:
    header = {k: v for k, v in GOOD["block"].items() if k != "baseFeePerGas"}
    state = read_state(_file(tmp_path, GOOD | {"block": header}, {HASH: "0x60"}))
    assert state.base_fee_wei == 20 * 10**9


def test_read_state__no_file__names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"7\.json\.gz does not exist"):
        read_state(tmp_path / "blocks" / "7.json.gz")


def test_read_state__no_bytecode_beside_it__names_what_is_missing(tmp_path: Path) -> None:
    path = _file(tmp_path, GOOD, {})
    (tmp_path / "codes_by_hash.json.gz").unlink()
    with pytest.raises(ConfigError, match=r"codes_by_hash\.json\.gz does not exist"):
        read_state(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(b"not json", mtime=0),
        gzip.compress(b"\xff\xfe\xff", mtime=0),
        gzip.compress(json.dumps(GOOD).encode(), mtime=0)[:-12],  # cut off
        gzip.compress(json.dumps(GOOD).encode(), mtime=0)[:20] + b"\xff" * 40,  # overwritten
    ],
)
def test_read_state__garbled_file__is_refused(tmp_path: Path, content: bytes) -> None:
    path = _file(tmp_path, GOOD, {HASH: "0x60"})
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not the state of a block"):
        read_state(path)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"block": GOOD["block"]},
        {"block": {}, "pre_state": {}},
        GOOD | {"block": GOOD["block"] | {"number": "hundred"}},
        GOOD | {"block": GOOD["block"] | {"number": 100}},
        GOOD | {"pre_state": {ACCOUNT: {"balance": "0x5"}}},
        GOOD | {"pre_state": {ACCOUNT: "0x5"}},
    ],
)
def test_read_state__another_document__is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(ConfigError, match="is not the state of a block"):
        read_state(_file(tmp_path, document, {HASH: "0x60"}))


def test_read_state__unknown_bytecode__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the state of a block"):
        read_state(_file(tmp_path, GOOD, {}))
