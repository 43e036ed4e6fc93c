"""The environment and .env: endpoints and keys, kept out of every repr and message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from rebalancer.errors import ConfigError

PRIVATE_KEY = "REBALANCER_PRIVATE_KEY"
KEYSTORE = "REBALANCER_KEYSTORE"
KEYSTORE_PASSWORD = "REBALANCER_KEYSTORE_PASSWORD"  # noqa: S105 - the name of a variable
KEYSTORE_PASSWORD_FILE = "REBALANCER_KEYSTORE_PASSWORD_FILE"  # noqa: S105
LEDGER = "REBALANCER_LEDGER"
RPC_URL = "REBALANCER_RPC_URL"
PRIVATE_TX_URL = "REBALANCER_PRIVATE_TX_URL"
RELAY_URL = "REBALANCER_RELAY_URL"
RELAY_KEY = "REBALANCER_RELAY_KEY"


@dataclass(frozen=True, slots=True)
class Environment:
    """Variables of the process, then those of .env; an empty one counts as unset."""

    values: Mapping[str, str] = field(repr=False)

    @classmethod
    def load(cls, folder: Path, process: Mapping[str, str] | None = None) -> Environment:
        """Read ``folder/.env`` under the process's own environment."""
        process = os.environ if process is None else process
        try:
            file = {key: value for key, value in dotenv_values(folder / ".env").items() if value}
        except (OSError, UnicodeDecodeError):
            raise ConfigError(
                f"{folder / '.env'} cannot be read",
                hint="check its permissions; it is text in UTF-8",
            ) from None
        return cls({**file, **{key: value for key, value in process.items() if value}})

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def rpc_urls(self, variable: str) -> tuple[str, ...]:
        """The endpoints in REBALANCER_RPC_URL, else in the network's own variable.

        The preferred one first; see ``split_urls``. Raises ConfigError when there is none.
        """
        urls = split_urls(self.get(RPC_URL) or "") or split_urls(self.get(variable) or "")
        if not urls:
            raise ConfigError(
                f"no RPC endpoint: {variable} is not set",
                hint=f"put {variable}=... into .env, or pass --rpc-url; "
                "`rebalancer fork` starts one to try things on",
            )
        return urls

    def keystore(self) -> tuple[Path, str] | None:
        """Keystore file and password, when a keystore is configured."""
        path = self.get(KEYSTORE)
        if path is None:
            return None
        password = self.get(KEYSTORE_PASSWORD)
        password_file = self.get(KEYSTORE_PASSWORD_FILE)
        if password is None and password_file is not None:
            try:
                password = Path(password_file).read_text(encoding="utf-8").rstrip("\r\n")
            except OSError:
                raise ConfigError(
                    f"{KEYSTORE_PASSWORD_FILE} names a file that cannot be read"
                ) from None
        if password is None:
            raise ConfigError(
                f"{KEYSTORE} is set, its password is not",
                hint=f"set {KEYSTORE_PASSWORD_FILE} to a file that only you can read",
            )
        return Path(path), password


def split_urls(text: str) -> tuple[str, ...]:
    """URLs separated by commas or white space, each once, in order."""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))
