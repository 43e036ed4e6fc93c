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
OWNER_KEYS = "REBALANCER_OWNER_KEYS"
OWNER_KEYSTORES = "REBALANCER_OWNER_KEYSTORES"
OWNER_PASSWORD_FILES = "REBALANCER_OWNER_PASSWORD_FILES"  # noqa: S105
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
            password = _password(Path(password_file), KEYSTORE_PASSWORD_FILE)
        if password is None:
            raise ConfigError(
                f"{KEYSTORE} is set, its password is not",
                hint=f"set {KEYSTORE_PASSWORD_FILE} to a file that only you can read",
            )
        return Path(path), password

    def owner_keys(self) -> tuple[str, ...]:
        """Private keys of a Safe's owners."""
        return tuple((self.get(OWNER_KEYS) or "").replace(",", " ").split())

    def owner_keystores(self) -> tuple[tuple[Path, str], ...]:
        """Keystore files of a Safe's owners with their passwords: a password file each, or one."""
        paths = _paths(self.get(OWNER_KEYSTORES))
        files = _paths(self.get(OWNER_PASSWORD_FILES))
        if len(files) == 1:
            files *= len(paths)
        if len(files) != len(paths):
            raise ConfigError(
                f"{OWNER_KEYSTORES} names {len(paths)} files, {OWNER_PASSWORD_FILES} {len(files)}",
                hint="name a password file for each keystore, in the same order, or one for all",
            )
        return tuple(
            (path, _password(file, OWNER_PASSWORD_FILES))
            for path, file in zip(paths, files, strict=True)
        )


def _paths(text: str | None) -> tuple[Path, ...]:
    return tuple(Path(part.strip()) for part in (text or "").split(",") if part.strip())


def _password(file: Path, variable: str) -> str:
    """The password in a file, without the end of its line."""
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{variable} names a file that cannot be read: {file}",
            hint="check the path and its permissions; it is text in UTF-8",
        ) from None


def split_urls(text: str) -> tuple[str, ...]:
    """URLs separated by commas or white space, each once, in order."""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))
