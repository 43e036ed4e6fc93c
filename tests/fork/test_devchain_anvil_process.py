"""Anvil as a process: it starts, it stops, and it never outlives us."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rebalancer.devchain.anvil import HARDFORK, Anvil, AnvilOptions, start_anvil
from rebalancer.devchain.fork import open_fork
from rebalancer.errors import ConfigError, ReadError

_PARENT = """
import sys, time
from pathlib import Path
from rebalancer.devchain.anvil import AnvilOptions, start_anvil

upstream = start_anvil(AnvilOptions(chain_id=1), log_dir=Path(sys.argv[1]))
fork = start_anvil(AnvilOptions(fork_url=upstream.url), log_dir=Path(sys.argv[1]))
for anvil in (upstream, fork):
    print(anvil.url, anvil.process_group, flush=True)
time.sleep(600)
"""


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((str(parts.hostname), int(parts.port or 0))) == 0


def _members(process_group: int) -> list[str]:
    """Living processes of a group, by ps; zombies that nobody waited for do not live."""
    ps = shutil.which("ps")
    if ps is None:
        return []
    table = subprocess.run(
        [ps, "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in table.splitlines()]
    return [row[2] for row in rows if row[0] == str(process_group) and not row[1].startswith("Z")]


def _await_gone(url: str, process_group: int) -> None:
    for _ in range(500):
        if not _answers(url) and not _members(process_group):
            return
        time.sleep(0.01)
    left = _members(process_group)
    os.killpg(process_group, signal.SIGKILL)
    raise AssertionError(f"left behind: {url} {left}")


def test_kill_9_of_the_parent__leaves_nothing_behind(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    started = [parent.stdout.readline().split() for _ in range(2)]
    for url, _ in started:
        assert _answers(url)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for url, process_group in started:
        _await_gone(url, int(process_group))
    assert len(list(tmp_path.glob("anvil-*.log"))) == 2


def test_stop__anvil_is_gone_and_its_log_stays(tmp_path: Path) -> None:
    with start_anvil(AnvilOptions(chain_id=31_337), log_dir=tmp_path / "logs") as anvil:
        assert anvil.rpc.call("eth_chainId") == hex(31_337)
        assert anvil.alive
        group = anvil.process_group
        assert _members(group) or shutil.which("ps") is None
    assert not anvil.alive
    _await_gone(anvil.url, group)
    assert "eth_chainId" in anvil.log_file.read_text()
    anvil.stop()  # again, harmlessly


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files, for this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_stop__in_good_order__leaves_no_log_behind(temporary: Path) -> None:
    with start_anvil(AnvilOptions()) as anvil:
        assert list(temporary.glob("anvil-*.log")) == [anvil.log_file]

    assert not list(temporary.glob("anvil-*.log"))
    anvil.stop()


@pytest.mark.parametrize("mistake", [KeyboardInterrupt(), ConfigError("a wrong flag")])
def test_stop__by_ctrl_c_or_a_users_mistake__leaves_no_log_behind(
    temporary: Path, mistake: BaseException
) -> None:
    with pytest.raises(type(mistake)), open_fork():
        raise mistake

    assert not list(temporary.glob("anvil-*.log"))


def test_stop__after_an_error__the_logs_stay_and_the_error_names_them(temporary: Path) -> None:
    with pytest.raises(ReadError) as raised, open_fork() as chain:
        raise ReadError("something went wrong")

    logs = set(temporary.glob("anvil-*.log"))
    assert logs == set(chain.log_files)
    assert {note.rpartition(" ")[2] for note in raised.value.__notes__} == set(map(str, logs))


def test_stop__of_one_that_died__its_log_stays(temporary: Path) -> None:
    with start_anvil(AnvilOptions()) as anvil:
        os.killpg(anvil.process_group, signal.SIGKILL)
        _await_gone(anvil.url, anvil.process_group)

    assert anvil.log_file.exists()


def test_anvil_killed_by_somebody_else__is_seen_and_leaves_no_watchdog(tmp_path: Path) -> None:
    anvil = start_anvil(AnvilOptions(), log_dir=tmp_path)
    os.killpg(anvil.process_group, signal.SIGTERM)
    _await_gone(anvil.url, anvil.process_group)
    assert not anvil.alive
    anvil.stop()


def test_log__only_we_may_read_it(tmp_path: Path) -> None:
    with start_anvil(AnvilOptions(), log_dir=tmp_path) as anvil:
        assert anvil.log_file.stat().st_mode & 0o077 == 0


def test_port__given__is_used_and_taken_is_a_clear_error(tmp_path: Path) -> None:
    with start_anvil(AnvilOptions(), log_dir=tmp_path) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="in use") as caught:
            start_anvil(AnvilOptions(port=port), log_dir=tmp_path)
        assert "--port" in caught.value.hint
    with start_anvil(AnvilOptions(port=port), log_dir=tmp_path) as second:
        assert second.url == first.url


def test_fork_of_nothing__says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Anvil stopped at once: .*refused") as caught:
        start_anvil(AnvilOptions(fork_url="http://127.0.0.1:9/KEY"), log_dir=tmp_path)
    assert "log" in caught.value.hint
    (log,) = tmp_path.glob("*.log")
    assert "KEY" not in log.read_text() + str(caught.value)


def test_key_in_the_fork_url__is_not_in_the_log(tmp_path: Path) -> None:
    with start_anvil(AnvilOptions(chain_id=1), log_dir=tmp_path) as upstream:
        options = AnvilOptions(fork_url=f"{upstream.url}/?key=S3CRET")
        with start_anvil(options, log_dir=tmp_path) as fork:
            assert fork.rpc.call("eth_chainId") == "0x1"
            assert "S3CRET" not in fork.log_file.read_text()
            assert "S3CRET" not in repr(fork)
            assert _still_logs(fork)


def _still_logs(anvil: Anvil) -> bool:
    anvil.rpc.call("eth_gasPrice")
    for _ in range(100):
        if "eth_gasPrice" in anvil.log_file.read_text():
            return True
        time.sleep(0.01)
    return False


def test_hardfork__also_of_a_fork__is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    old = AnvilOptions(chain_id=1, timestamp=1_500_000_000)
    with (
        start_anvil(old, log_dir=tmp_path) as upstream,
        start_anvil(AnvilOptions(fork_url=upstream.url), log_dir=tmp_path) as fork,
    ):
        info = fork.rpc.call("anvil_nodeInfo")
    assert info["hardFork"].lower() == HARDFORK
    assert info["environment"]["chainId"] == 1
