"""Who signs: an abstract account, so that keys stay out of everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from eth_typing import Hash32

from rebalancer.errors import ConfigError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_KEY_HINT = "a private key is 0x and 64 hex digits; check the keystore, environment or .env entry"


class Signer(Protocol):
    """An account that can sign; hardware and remote signers fit it as well."""

    @property
    def address(self) -> str:
        """EIP-55 checksummed."""

    def sign(self, transaction: Mapping[str, Any]) -> tuple[str, str]:
        """Sign a transaction of type 2 or 4; returns its wire form and its hash, both 0x hex."""

    def authorize(self, chain_id: int, delegate: str, nonce: int) -> Mapping[str, Any]:
        """Sign an EIP-7702 authorisation: an entry of a type 4 transaction's list."""

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        """Sign a hash that was made from typed data (EIP-712); returns ``v`` (27, 28), r, s."""


class LocalSigner:
    """A private key in this process's memory.

    Neither its repr, nor its errors, nor a pickle of it show the key: the only way to the key is
    the eth_account object that it wraps.
    """

    __slots__ = ("_account",)

    def __init__(self, account: LocalAccount) -> None:
        self._account = account

    @classmethod
    def from_key(cls, private_key: str) -> LocalSigner:
        """``private_key`` is 64 hex digits, 0x optional; raises ConfigError when it is not."""
        from eth_account import Account

        # ``from None`` here and below: the library's messages can quote what they were given.
        try:
            return cls(Account.from_key(bytes.fromhex(private_key.strip().removeprefix("0x"))))
        except ValueError:
            raise ConfigError("the private key is not valid", hint=_KEY_HINT) from None

    @classmethod
    def from_keystore(cls, path: Path, password: str) -> LocalSigner:
        """Open an encrypted keystore file (the JSON that Geth and Foundry write).

        Raises ConfigError for a missing or foreign file and for a wrong password.
        """
        from eth_account import Account

        try:
            keystore = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise ConfigError(
                f"the keystore {path} cannot be read", hint="check the path and its permissions"
            ) from None
        except ValueError:
            raise ConfigError(
                f"the keystore {path} is not JSON", hint="it must be an encrypted keystore file"
            ) from None
        try:
            key = Account.decrypt(keystore, password)
        except ValueError:
            raise ConfigError(
                f"the password does not open the keystore {path}",
                hint="check the password, or the password file that belongs to this keystore",
            ) from None
        except (TypeError, KeyError, AttributeError, NotImplementedError):
            # eth-keyfile: JSON of another shape, or a version or key derivation it does not know.
            raise ConfigError(
                f"the file {path} is not a keystore", hint="it must be an encrypted keystore file"
            ) from None
        return cls(Account.from_key(key))

    @property
    def address(self) -> str:
        return str(self._account.address)

    def sign(self, transaction: Mapping[str, Any]) -> tuple[str, str]:
        signed = self._account.sign_transaction(dict(transaction))
        return signed.raw_transaction.to_0x_hex(), signed.hash.to_0x_hex()

    def authorize(self, chain_id: int, delegate: str, nonce: int) -> Mapping[str, Any]:
        signed: Any = self._account.sign_authorization(
            {"chainId": chain_id, "address": delegate, "nonce": nonce}
        )
        return {
            "chainId": chain_id,
            "address": delegate,
            "nonce": nonce,
            "yParity": signed.y_parity,
            "r": signed.r,
            "s": signed.s,
        }

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        signed = self._account.unsafe_sign_hash(Hash32(digest))
        return signed.v, signed.r, signed.s

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is not written down")
