"""Keys sign, and are never shown."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from bundler_fakes import WALLET
from eth_account import Account

from rebalancer.bundler.calls import Call, UnsignedTransaction
from rebalancer.bundler.prepare import sign
from rebalancer.bundler.signer import LocalSigner
from rebalancer.errors import ConfigError, ExecutionError

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # Anvil's first
PASSWORD = "correct horse"  # noqa: S105
WRONG = "wrong battery"
TRANSACTION = UnsignedTransaction(
    Call("execute", "", WALLET, b"\x01\x02"), 1, WALLET, 7, 90_000, 30 * 10**9, 10**9
)


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "treasury.json"
    path.write_text(json.dumps(Account.encrypt(KEY, PASSWORD, kdf="pbkdf2", iterations=2)))
    return path


@pytest.mark.parametrize("written", [KEY, KEY[2:], f" {KEY}\n", KEY.upper().replace("0X", "0x")])
def test_a_key_is_read_as_people_write_it(written: str) -> None:
    assert LocalSigner.from_key(written).address == WALLET


def test_a_keystore_is_opened_with_its_password(keystore: Path) -> None:
    assert LocalSigner.from_keystore(keystore, PASSWORD).address == WALLET


def test_a_signer_does_not_show_or_give_away_its_key(keystore: Path) -> None:
    signer = LocalSigner.from_keystore(keystore, PASSWORD)
    assert repr(signer) == str(signer) == f"LocalSigner({WALLET})"
    assert KEY[2:] not in f"{signer!r} {signer} {signer!a} {vars_of(signer)}"
    with pytest.raises(TypeError, match="not written down"):
        pickle.dumps(signer)


def vars_of(signer: LocalSigner) -> str:
    """What a traceback that shows local variables would print of it."""
    return " ".join(repr(getattr(signer, name)) for name in LocalSigner.__slots__)


@pytest.mark.parametrize("bad", ["", "0x", KEY[:-1], KEY[:-2], KEY + "00", "z" * 64, "0" * 64])
def test_a_bad_key_is_refused_without_quoting_it(bad: str) -> None:
    with pytest.raises(ConfigError, match="private key is not valid") as caught:
        LocalSigner.from_key(bad)
    assert_quiet(caught.value, bad)


def test_a_wrong_password_is_refused_without_quoting_it(keystore: Path) -> None:
    with pytest.raises(ConfigError, match="does not open the keystore") as caught:
        LocalSigner.from_keystore(keystore, WRONG)
    assert_quiet(caught.value, WRONG)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_text(KEY), "not JSON"),
        (lambda path: path.write_text("{}"), "not a keystore"),
        (lambda path: path.write_text("[1]"), "not a keystore"),
        (lambda path: path.write_text('{"version": 1, "crypto": {}}'), "not a keystore"),
        (lambda path: path.write_text('{"version": 3, "crypto": {"kdf": "x"}}'), "not a keystore"),
    ],
)
def test_a_file_that_is_no_keystore_is_named(
    tmp_path: Path, spoil: Callable[[Path], object], match: str
) -> None:
    path = tmp_path / "some.json"
    path.write_text("{}")
    spoil(path)
    with pytest.raises(ConfigError, match=match) as caught:
        LocalSigner.from_keystore(path, PASSWORD)
    assert str(path) in str(caught.value)
    assert_quiet(caught.value, PASSWORD)
    assert_quiet(caught.value, KEY)


def assert_quiet(error: ConfigError, secret: str) -> None:
    shown = "".join(traceback.format_exception(error)) + error.hint
    assert len(secret) < 8 or secret not in shown
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_what_is_signed_is_what_was_asked_for() -> None:
    signed = sign(LocalSigner.from_key(KEY), TRANSACTION)
    assert Account.recover_transaction(signed.raw) == WALLET
    assert (signed.nonce, signed.gas_limit, signed.to) == (7, 90_000, WALLET)
    assert signed.data == "0x0102"


@pytest.mark.parametrize("key", ["nonce", "gas", "maxFeePerGas", "data", "value", "chainId", "to"])
def test_a_signer_that_signs_something_else_is_caught(key: str) -> None:
    class Liar:
        address = WALLET

        def sign(self, transaction: dict[str, object]) -> tuple[str, str]:
            other = {"data": b"\x03", "to": "0x" + "11" * 20}.get(key, 5)
            return LocalSigner.from_key(KEY).sign({**transaction, key: other})

    with pytest.raises(ExecutionError, match="something else"):
        sign(Liar(), TRANSACTION)


def test_a_signature_of_another_account_or_a_wrong_hash_is_caught() -> None:
    class Other:
        address = WALLET

        def sign(self, transaction: dict[str, object]) -> tuple[str, str]:
            return LocalSigner.from_key("0x" + "11" * 32).sign(transaction)

    class Misnamed:
        address = WALLET

        def sign(self, transaction: dict[str, object]) -> tuple[str, str]:
            return LocalSigner.from_key(KEY).sign(transaction)[0], "0x" + "00" * 32

    for signer in (Other(), Misnamed()):
        with pytest.raises(ExecutionError, match="something else"):
            sign(signer, TRANSACTION)
