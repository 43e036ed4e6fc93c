"""``status`` of several wallets and of several portfolios, as a user has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY

if TYPE_CHECKING:
    from conftest import Workspace


def watching(workspace: Workspace, name: str = "portfolio.yaml") -> str:
    """A second file that watches the arbitrageur's wallet too; its path."""
    text = workspace.portfolio.read_text()
    line = next(row for row in text.splitlines() if row.startswith("wallet:"))
    named = next(row for row in text.splitlines() if row.startswith("name:"))
    text = text.replace(line, f'{line}\nwatch: ["{ARBITRAGEUR}"]').replace(named, "name: watching")
    path = workspace.folder / name
    path.write_text(text)
    return str(path)


def test_watch__counts_and_is_shown_wallet_by_wallet(workspace: Workspace) -> None:
    alone = workspace.run("status", "--json").json
    positions = [{"name": p["name"], "value_e8": p["value_e8"]} for p in alone["positions"]]
    assert alone["wallets"] == [
        {"wallet": TREASURY, "value_e8": alone["nav_e8"], "positions": positions}
    ]
    watching(workspace)
    document = workspace.run("status", "--json").json
    trading, watched = document["wallets"]
    assert trading == alone["wallets"][0]
    assert watched["wallet"] == ARBITRAGEUR
    assert watched["value_e8"] > 0
    assert document["nav_e8"] == trading["value_e8"] + watched["value_e8"]
    assert document["balances"] == alone["balances"], "those of the trading wallet"

    shown = workspace.run("status").out
    assert "Wallets" in shown
    (row,) = (i for i, row in enumerate(shown.splitlines()) if ARBITRAGEUR in row)
    assert "watched" in shown.splitlines()[row]
    held = {p["name"] for p in watched["positions"] if p["value_e8"]}
    below = [line.strip().split(" ")[0] for line in shown.splitlines()[row + 1 :]]
    assert set(below[: len(held)]) == held, "what is where, below each wallet"


def test_two_portfolios__one_block_and_each_as_by_itself(workspace: Workspace) -> None:
    other = watching(workspace, "other.yaml")
    one, two = workspace.run("status", "--json", "-p", other).json[::-1]
    assert one["block"] == two["block"]
    assert (one.pop("portfolio"), two.pop("portfolio")) == ("treasury", "watching")
    assert one == workspace.run("status", "--json").json
    shown = workspace.run("status", "-p", other)
    assert shown.code == 0
    assert [row for row in shown.out.splitlines() if row in ("treasury", "watching")] == [
        "watching",
        "treasury",
    ]


def test_two_portfolios__cannot_be_followed(workspace: Workspace) -> None:
    result = workspace.run("status", "--watch", "-p", watching(workspace, "other.yaml"))
    assert result.code == 2
    assert "--watch follows one portfolio" in result.err
