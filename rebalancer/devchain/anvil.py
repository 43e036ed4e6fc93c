"""One Anvil process: found, started, awaited, stopped, and never left behind.

Anvil runs under a small shell. A second process of that shell reads from a pipe whose only writing
end is held by us: when we stop it, or die in whatever way (kill -9 included), the pipe ends and
Anvil is killed. No signal handler, no pid file, no thread.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from rebalancer.config.load import PROJECT_ROOT
from rebalancer.errors import ConfigError
from rebalancer.evm.rpc import HttpRpc

ENV_ANVIL = "REBALANCER_ANVIL"
#: As far apart as a real chain's blocks: quick blocks of one timestamp would make swaps look 10,400
#: gas cheaper than they are, because pairs then skip their price accumulators.
BLOCK_INTERVAL_S = 12
#: Left alone, a fork guesses its hardfork from chain id and time; EIP-7702 needs prague.
#: Measured on Anvil 1.7.1: --enable-tx-gas-limit (EIP-7825) does nothing before osaka.
HARDFORK = "prague"

# $@ is Anvil's command line; descriptor 3 is the reading end of our pipe. The main shell waits for
# Anvil and so keeps its pid from being given to another process while the watcher may kill it.
_WATCHDOG = """
exec 3<&0
"$@" 3<&- </dev/null &
anvil=$!
( read -r _ <&3; kill -9 "$anvil" ) 2>/dev/null &
watcher=$!
exec 3<&-
wait "$anvil"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"""
_LISTENING = re.compile(r"Listening on 127\.0\.0\.1:(\d+)")
_HINT_INSTALL = (
    f"run `make setup` in the project, or set {ENV_ANVIL} to the path of an Anvil "
    "(it is part of Foundry)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnvilOptions:
    """What differs between one Anvil and another; the rest is fixed in ``command``.

    ``chain_id`` None takes that of ``fork_url``. ``block_number`` and ``timestamp`` are of the
    genesis block, as is ``base_fee_wei``. ``balance_eth`` is what each of the ten well-known
    accounts owns, on a fork too. ``fifo`` mines transactions in the order in which they came.
    ``port`` 0 lets the system choose a free one. ``hardfork`` is whose rules it keeps.
    """

    fork_url: str | None = None
    chain_id: int | None = None
    block_number: int | None = None
    timestamp: int | None = None
    base_fee_wei: int | None = None
    gas_limit: int | None = None
    balance_eth: int = 10_000
    port: int = 0
    fifo: bool = False
    hardfork: str = HARDFORK

    def command(self, binary: Path) -> list[str]:
        """Command line of Anvil."""
        command = [str(binary), "--host", "127.0.0.1", "--color", "never"]
        command += ["--hardfork", self.hardfork, "--enable-tx-gas-limit"]
        if self.fork_url is not None:
            # The disk cache goes stale between two runs of a chain that has the same numbers.
            command += ["--fork-url", self.fork_url, "--no-storage-caching"]
        for flag, value in (
            ("--chain-id", self.chain_id),
            ("--number", self.block_number),
            ("--timestamp", self.timestamp),
            ("--block-base-fee-per-gas", self.base_fee_wei),
            ("--gas-limit", self.gas_limit),
            ("--balance", self.balance_eth),
            ("--port", self.port),
        ):
            if value is not None:
                command += [flag, str(value)]
        if self.fifo:
            command += ["--order", "fifo"]
        return command


class Anvil:
    """A running Anvil; a context manager that stops it. ``rpc`` talks to it.

    The log of one that is stopped in good order is deleted, unless it was given a folder; after an
    error it stays, and the error names it.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        port: int,
        log_file: Path,
        fork_url: str | None,
        keeps_log: bool = True,
    ) -> None:
        self._process = process
        self._fork_url = fork_url
        self._keeps_log = keeps_log
        self.url = f"http://127.0.0.1:{port}"
        self.log_file = log_file
        self.rpc = HttpRpc(self.url, timeout_s=60.0)

    def __repr__(self) -> str:
        return f"Anvil({self.url})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Neither Ctrl-C nor a user's mistake is something that the log explains.
        failed = isinstance(error, Exception) and not isinstance(error, ConfigError)
        if failed:
            self._keeps_log = True
        self.stop()
        if failed and error is not None:
            error.add_note(f"Anvil's log is {self.log_file}")

    @property
    def process_group(self) -> int:
        """Process group of Anvil and of the shell that watches over it."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop Anvil and wait until it is gone; safe to call again."""
        died = self._process.poll() is not None
        _end(self._process)
        if self._keeps_log or died:
            _redact(self.log_file, self._fork_url)
        else:
            self.log_file.unlink(missing_ok=True)


def find_anvil() -> Path:
    """Anvil's binary: REBALANCER_ANVIL, else the project's node_modules, else the PATH.

    Of the npm package the native binary is taken: its wrapper costs a start of Node.js.
    Raises ConfigError when there is none.
    """
    named = os.environ.get(ENV_ANVIL)
    if named:
        if os.access(named, os.X_OK) and Path(named).is_file():
            return Path(named)
        raise ConfigError(
            f"{ENV_ANVIL}={named} is not an executable file",
            hint="correct the variable, or unset it to use the Anvil of `make setup`",
        )
    local = PROJECT_ROOT / "node_modules" / "@foundry-rs" / _platform_package() / "bin" / "anvil"
    if os.access(local, os.X_OK):
        return local
    on_path = shutil.which("anvil")
    if on_path is not None:
        return Path(on_path)
    raise ConfigError("Anvil is not installed", hint=_HINT_INSTALL)


def start_anvil(
    options: AnvilOptions, *, log_dir: Path | None = None, timeout_s: float = 60.0
) -> Anvil:
    """Start Anvil and wait until it answers.

    The log goes to a new file that only we may read: in ``log_dir``, where it stays, or in the
    system's folder for temporary files. Raises ConfigError with the reason when Anvil does not
    start.
    """
    binary = find_anvil()
    if log_dir is not None:
        log_dir.mkdir(parents=True, exist_ok=True)
    log_fd, log_name = tempfile.mkstemp(prefix="anvil-", suffix=".log", dir=log_dir)
    log_file = Path(log_name)
    os.close(log_fd)
    with log_file.open("ab") as log:  # append mode, so that _redact may shorten the file
        process = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _WATCHDOG, "anvil-watchdog", *options.command(binary)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )
    try:
        port = _await_port(process, log_file, time.monotonic() + timeout_s, options.fork_url)
    except BaseException:
        _end(process)
        _redact(log_file, options.fork_url)
        raise
    _redact(log_file, options.fork_url)
    return Anvil(process, port, log_file, options.fork_url, keeps_log=log_dir is not None)


def _platform_package() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    return f"anvil-{sys.platform}-{machine}"


def _await_port(
    process: subprocess.Popen[bytes], log_file: Path, give_up_at: float, fork_url: str | None
) -> int:
    """Port that Anvil says it listens on."""
    while True:
        ended = process.poll() is not None
        text = log_file.read_text(errors="replace")
        if match := _LISTENING.search(text):
            return int(match[1])
        if "Address already in use" in text:
            raise ConfigError(
                "Anvil cannot listen on that port: it is in use",
                hint="choose another one with --port, or 0 for a free one",
            )
        if ended or time.monotonic() > give_up_at:
            what = "stopped at once" if ended else "did not answer in time"
            raise ConfigError(
                f"Anvil {what}: {_last_words(text, fork_url)}", hint=f"its log is {log_file}"
            )
        time.sleep(0.002)


def _last_words(text: str, fork_url: str | None) -> str:
    lines = [line.strip() for line in _without_secrets(text, fork_url).splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it wrote no log"])[-1][:300]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the pipe, which kills Anvil; and the whole session should the shell not obey."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _redact(log_file: Path, fork_url: str | None) -> None:
    """Take what may be a key in the fork's URL out of what Anvil has written so far."""
    if not log_file.exists():
        return
    text = log_file.read_text(errors="replace")
    if (redacted := _without_secrets(text, fork_url)) != text:
        log_file.write_text(redacted)


def _without_secrets(text: str, fork_url: str | None) -> str:
    """``text`` with the user, path and query of the URL blanked, wherever they stand."""
    parts = urlsplit(fork_url or "")
    for secret in (parts.path.strip("/"), parts.query, parts.username, parts.password):
        if secret:
            text = text.replace(secret, "...")
    return text
