"""Claims on a wallet: two portfolios that pull at it are never both let in, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rebalancer.config.load import load_portfolio
from rebalancer.errors import ConfigError, LeaseHeld, LedgerError
from rebalancer.keeper.claims import (
    Claim,
    FileShelf,
    LedgerShelf,
    Register,
    Tenure,
    claim_of,
    contested,
)
from rebalancer.ledger.claims import claims_of, put_claims
from rebalancer.ledger.integrity import check_integrity
from rebalancer.ledger.store import Ledger

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "portfolio.example.yaml").read_text()
WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WATCHED = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
RENAMED = ("name: treasury", "name: second")
OTHER_SHARES = [
    ("WETH, target: 40%", "WETH, target: 50%"),
    ("WBTC, target: 20%", "WBTC, target: 10%"),
]
ALL = ("USDC", "WBTC", "WETH", "uniswap_v2:USDC/WETH")

Edits = list[tuple[str, str]]


def claim(file: Path, *edits: tuple[str, str]) -> Claim:
    """The claim of the example with ``edits``, as it then lies in ``file``."""
    text = EXAMPLE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return claim_of(load_portfolio(file, ROOT / "networks.yaml"), file)


def beside_lease(folder: Path, chain_id: int = 1, wallet: str = WALLET) -> Register:
    return Register(FileShelf.beside_lease(folder, chain_id, wallet), wallet)


def in_ledger(folder: Path, chain_id: int = 1, wallet: str = WALLET, here: bool = True) -> Register:
    def open_ledger(create: bool) -> Ledger | None:
        path = folder / "ledger.sqlite"
        if not create and not path.exists():
            return None
        return Ledger.open(path, clock=lambda: 1)

    return Register(LedgerShelf(open_ledger, chain_id, wallet), wallet, here)


PLACES = pytest.mark.parametrize("place", [beside_lease, in_ledger], ids=["lease", "ledger"])


@pytest.fixture(params=[beside_lease, in_ledger], ids=["lease", "ledger"])
def register(request: pytest.FixtureRequest, tmp_path: Path) -> Register:
    found: Register = request.param(tmp_path)
    return found


@pytest.mark.parametrize(
    ("edits", "fought_over"),
    [
        pytest.param([], (), id="the same"),
        pytest.param([("band: 3%", "band: 1%"), ("every: 1h", "every: 2h")], (), id="other rules"),
        pytest.param(OTHER_SHARES, ALL, id="other shares"),
        pytest.param([("# gas_reserve", "gas_reserve")], ALL, id="ether counts too"),
        pytest.param(
            [("numeraire: USD", f'numeraire: USD\nwatch: ["{WATCHED}"]')], ALL, id="more wallets"
        ),
        pytest.param(
            [
                ("  - {token: WETH, target: 40%}\n", ""),
                ("  - {token: USDC, target: 20%}\n", ""),
                ("WBTC, target: 20%", "DAI, target: 80%"),
                ("WETH/USDC", "WETH/USDT"),
            ],
            (),
            id="other positions",
        ),
    ],
)
def test_contested__what_two_files_pull_at(
    tmp_path: Path, edits: Edits, fought_over: tuple[str, ...]
) -> None:
    mine = claim(tmp_path / "a.yaml")
    other = claim(tmp_path / "b.yaml", RENAMED, *edits)
    assert contested(mine, other) == contested(other, mine) == fought_over


def test_enter__another_portfolio_with_other_shares__kept_out_until_it_takes_over(
    tmp_path: Path, register: Register
) -> None:
    mine = claim(tmp_path / "a.yaml")
    other = claim(tmp_path / "b.yaml", RENAMED, *OTHER_SHARES)
    register.enter(mine)
    with pytest.raises(ConfigError, match=r"is kept by the portfolio treasury \(.*a\.yaml\)") as no:
        register.enter(other)
    assert f"`rebalancer resume --take-over -p {tmp_path / 'b.yaml'}`" in no.value.hint
    assert register.claims() == (mine,)
    assert register.take_over(other) == (mine,)
    register.enter(other)
    with pytest.raises(ConfigError, match="is kept by the portfolio second"):
        register.enter(mine)
    assert register.claims() == (other,)


def test_enter__other_positions__both_stay(tmp_path: Path, register: Register) -> None:
    mine = Claim("a", str(tmp_path / "a.yaml"), ("WETH", "USDC"), "1")
    other = Claim("b", str(tmp_path / "b.yaml"), ("WBTC",), "2")
    both = Claim("c", str(tmp_path / "c.yaml"), ("WBTC", "WETH"), "3")
    register.enter(mine)
    register.enter(other)
    register.enter(mine)
    assert set(register.claims()) == {mine, other}
    with pytest.raises(ConfigError, match="wants other shares of its W"):
        register.enter(both)
    assert set(register.take_over(both)) == {mine, other}


def test_enter__file_that_was_edited__stands_in_for_itself(
    tmp_path: Path, register: Register
) -> None:
    register.enter(claim(tmp_path / "a.yaml"))
    edited = claim(tmp_path / "a.yaml", RENAMED, *OTHER_SHARES)
    register.enter(edited)
    assert register.claims() == (edited,)


def test_enter__file_that_was_moved__stands_in_for_itself__a_copy_does_not(
    tmp_path: Path, register: Register
) -> None:
    register.enter(claim(tmp_path / "old" / "a.yaml"))
    moved = claim(tmp_path / "new" / "a.yaml", *OTHER_SHARES)
    with pytest.raises(ConfigError, match="treasury"):
        register.enter(moved)
    (tmp_path / "old" / "a.yaml").unlink()
    register.enter(moved)
    assert register.claims() == (moved,)
    renamed = claim(tmp_path / "new" / "b.yaml", RENAMED)
    (tmp_path / "new" / "a.yaml").unlink()
    with pytest.raises(ConfigError, match="treasury"):
        register.enter(renamed)  # a process may still run by the file that is gone


def test_enter__file_that_may_not_be_looked_at__is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = beside_lease(tmp_path)
    register.enter(claim(tmp_path / "a.yaml"))
    copy = claim(tmp_path / "b.yaml", *OTHER_SHARES)
    (tmp_path / "a.yaml").unlink()

    def forbidden(_: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", forbidden)
    with pytest.raises(ConfigError, match="is kept by the portfolio treasury"):
        register.enter(copy)


def test_tenure__in_the_same_process__gives_way_to_nothing_silently(
    tmp_path: Path, register: Register
) -> None:
    mine = claim(tmp_path / "a.yaml")
    tenure = Tenure((register,), mine)
    tenure.hold()
    tenure.hold()
    register.enter(claim(tmp_path / "a.yaml", *OTHER_SHARES))
    with pytest.raises(ConfigError, match=r"a\.yaml was changed, and another run trades by it"):
        tenure.hold()
    other = claim(tmp_path / "b.yaml", RENAMED)
    register.take_over(other)
    assert register.claims() == (other,)
    tenure.hold()  # it wants the same: nobody undoes anything
    assert set(register.claims()) == {mine, other}


def test_tenure__taken_over_while_it_runs__trades_no_more(
    tmp_path: Path, register: Register
) -> None:
    tenure = Tenure((register,), claim(tmp_path / "a.yaml"))
    tenure.hold()
    register.take_over(claim(tmp_path / "b.yaml", RENAMED, *OTHER_SHARES))
    with pytest.raises(ConfigError, match="is kept by the portfolio second"):
        tenure.hold()
    with pytest.raises(ConfigError, match="is kept by the portfolio second"):
        Tenure((register,), claim(tmp_path / "a.yaml")).check()


@PLACES
def test_other_wallets_and_chains__have_registers_of_their_own(
    tmp_path: Path, place: Callable[..., Register]
) -> None:
    place(tmp_path, 1, WALLET).enter(claim(tmp_path / "a.yaml"))
    other = claim(tmp_path / "b.yaml", RENAMED, *OTHER_SHARES)
    place(tmp_path, 10, WALLET).enter(other)
    place(tmp_path, 1, WATCHED).enter(other)
    with pytest.raises(ConfigError):
        place(tmp_path, 1, WALLET.lower()).enter(other)


def test_tenure__two_registers__refused_by_either__before_it_is_written_into_the_other(
    tmp_path: Path,
) -> None:
    """Processes that share one of them and not the other."""
    mine = claim(tmp_path / "a.yaml")
    other = claim(tmp_path / "b.yaml", RENAMED, *OTHER_SHARES)
    shared, alone = in_ledger(tmp_path), beside_lease(tmp_path)
    Tenure((shared,), mine).hold()
    tenure = Tenure((alone, shared), other)
    with pytest.raises(ConfigError, match="is kept by the portfolio treasury"):
        tenure.hold()
    assert alone.claims() == ()
    assert tenure.take_over() == (mine,)
    tenure.hold()
    assert alone.claims() == shared.claims() == (other,)


def test_two_that_are_let_in__do_not_write_by_turns(tmp_path: Path) -> None:
    """Each cycle claims again; the ledger grows only where something is new."""
    register = in_ledger(tmp_path)
    both = [Claim(name, f"/{name}.yaml", (name,), name) for name in ("b", "a")]
    for mine in both * 3:
        register.enter(mine)
        register.keep(mine)
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: 1) as ledger:
        with ledger.reading() as connection:
            assert len(connection.exec_driver_sql("SELECT seq FROM events").all()) == 2
        assert check_integrity(ledger) == []


def test_shared_ledger__one_path_on_two_machines__is_no_one_file(tmp_path: Path) -> None:
    """In a container every portfolio is at one path."""
    register = in_ledger(tmp_path, here=False)
    register.enter(Claim("treasury", "/app/portfolio.yaml", ("WETH",), "1"))
    with pytest.raises(ConfigError, match="is kept by the portfolio treasury"):
        register.enter(Claim("second", "/app/portfolio.yaml", ("WETH",), "2"))
    with pytest.raises(ConfigError, match="is kept by the portfolio treasury"):
        register.enter(Claim("treasury", "/srv/portfolio.yaml", ("WETH",), "2"))
    edited = Claim("treasury", "/app/portfolio.yaml", ("WETH",), "2")
    register.enter(edited)
    assert register.claims() == (edited,)


def test_shared_ledger__two_that_begin_at_once__one_waits(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: 1) as ledger:
        assert put_claims(ledger, 1, WALLET, "[1]", None)
        assert not put_claims(ledger, 1, WALLET, "[2]", None)
        assert put_claims(ledger, 1, WALLET, "[2]", "[1]")
        assert claims_of(ledger, 1, WALLET.lower()) == "[2]"

    class Late(LedgerShelf):
        def read(self) -> str | None:
            return None

    book = Late(lambda _: Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: 1), 1, WALLET)
    with pytest.raises(LeaseHeld, match="begins to act"):
        Register(book, WALLET).enter(Claim("a", "/a.yaml", ("WETH",), "1"))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"portfolio": "x"}]', "\xff"])
def test_damaged__nobody_trades(tmp_path: Path, text: str) -> None:
    register, mine = beside_lease(tmp_path), claim(tmp_path / "a.yaml")
    register.enter(mine)
    (path,) = tmp_path.glob("*.claims.json")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LedgerError, match="cannot be read") as no:
        register.enter(mine)
    assert "delete that file" in no.value.hint
    path.unlink()
    register.enter(mine)


def test_folder_that_cannot_be_written__one_line(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be written"):
        beside_lease(tmp_path / "missing").enter(claim(tmp_path / "a.yaml"))


WRITER = """
import sys
from collections.abc import Callable
from pathlib import Path
from rebalancer.keeper.claims import Claim, FileShelf, Register
register = Register(FileShelf.beside_lease(Path(sys.argv[1]), 1, sys.argv[2]), sys.argv[2])
print("ready", flush=True)
while True:
    for wants in "ab":
        register.enter(Claim(wants * 10_000, "/nowhere/a.yaml", ("WETH",), wants))
"""


def test_killed_while_writing__the_register_is_whole(tmp_path: Path) -> None:
    register = beside_lease(tmp_path)
    command = [sys.executable, "-c", WRITER, str(tmp_path), WALLET]
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            while not register.claims():
                pass
            os.kill(writer.pid, signal.SIGKILL)
        (found,) = register.claims()
        assert found.portfolio == found.wants * 10_000
    register.enter(Claim("c", "/nowhere/a.yaml", ("WETH",), "c"))
