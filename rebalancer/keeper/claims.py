"""Who a wallet's positions belong to: no two portfolios trade against each other, in any process.

Each portfolio that may send leaves what it wants of the wallet in a register, beside the wallet's
lease and in the ledger. Another one that wants other shares of the same positions is refused until
a person hands the wallet over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError, LeaseHeld, LedgerError
from rebalancer.ledger.claims import claims_of, put_claims
from rebalancer.ledger.store import Ledger
from rebalancer.model import digest, to_json


@dataclass(frozen=True, slots=True)
class Claim:
    """What one portfolio file wants of a wallet.

    ``file`` is its whole path. ``wants`` is a digest of all that the wanted shares follow from:
    goals without their bands, what they are shares of, and what counts beside the wallet's tokens.
    """

    portfolio: str
    file: str
    positions: tuple[str, ...]
    wants: str


def claim_of(resolved: ResolvedPortfolio, file: Path) -> Claim:
    """The claim of a portfolio that was read from ``file``."""
    scheme, portfolio = resolved.scheme, resolved.portfolio
    goals = [replace(goal, band_abs_ppm=None, band_rel_ppm=None) for goal in scheme.goals]
    wants = {
        "scheme": replace(
            scheme,
            positions=tuple(sorted(scheme.positions)),
            goals=tuple(sorted(goals, key=lambda goal: goal.name)),
            multipliers=tuple(sorted(scheme.multipliers)),
        ),
        "gas_reserve": resolved.gas_reserve,
        "watch": sorted(portfolio.watch),
        "staked": sorted((lp.name, lp.staked_in) for lp in resolved.lps if lp.staked_in),
    }
    return Claim(portfolio.name, str(file.resolve()), scheme.positions, digest(wants))


def contested(a: Claim, b: Claim) -> tuple[str, ...]:
    """The positions that both claims are about, where they want other shares of them."""
    return () if a.wants == b.wants else tuple(sorted({*a.positions} & {*b.positions}))


class Shelf(Protocol):
    """Where a register lies, a text; ``name`` and ``mend`` are for messages when it is damaged."""

    @property
    def name(self) -> str: ...

    @property
    def mend(self) -> str: ...

    def read(self) -> str | None:
        """The text; None before the first."""

    def write(self, text: str, seen: str | None) -> None:
        """Replace ``seen``, as a whole or not at all."""


@dataclass(frozen=True, slots=True)
class FileShelf:
    """A file beside the wallet's lease; the lease keeps a second writer out."""

    path: Path
    mend: str = "see that no other portfolio trades for this wallet, then delete that file"

    @classmethod
    def beside_lease(cls, folder: Path, chain_id: int, wallet: str) -> FileShelf:
        return cls(folder / f"{chain_id}-{wallet.lower()}.claims.json")

    @property
    def name(self) -> str:
        return str(self.path)

    def read(self) -> str | None:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def write(self, text: str, seen: str | None) -> None:
        try:
            draft = self.path.with_suffix(".draft")
            with draft.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError as error:
            raise LedgerError(
                f"{self.path} cannot be written: {os.strerror(error.errno or 0)}",
                hint="make its folder writable, or name another with XDG_STATE_HOME",
            ) from None


@dataclass(frozen=True, slots=True)
class LedgerShelf:
    """An event of the ledger, for processes that share nothing else.

    ``ledger`` opens it, or returns None where there is none yet and none is to be made.
    """

    ledger: Callable[[bool], Ledger | None]
    chain_id: int
    wallet: str
    name: str = "the ledger"
    mend: str = "restore the ledger from a backup"

    def read(self) -> str | None:
        book = self.ledger(False)
        if book is None:
            return None
        with book:
            return claims_of(book, self.chain_id, self.wallet)

    def write(self, text: str, seen: str | None) -> None:
        book = self.ledger(True)
        if book is None:
            return
        with book:
            if not put_claims(book, self.chain_id, self.wallet, text, seen):
                raise LeaseHeld(
                    f"another rebalancer begins to act for {self.wallet} right now",
                    hint="run again when it is done",
                )


class Register:
    """The claims on one wallet of a chain, on a shelf.

    ``here``: its claims are of files on this machine, so that one can see whether they are gone.
    """

    def __init__(self, shelf: Shelf, wallet: str, here: bool = True) -> None:
        self._shelf = shelf
        self._wallet = wallet
        self._here = here

    def claims(self) -> tuple[Claim, ...]:
        """All claims there are; raises LedgerError for what cannot be read or trusted."""
        return self._read()[1]

    def check(self, mine: Claim) -> None:
        """Raise ConfigError where a claim keeps out a portfolio file that is opened now."""
        self._refuse(mine, self._against(mine, self.claims()))

    def check_kept(self, mine: Claim) -> None:
        """Raise ConfigError where anybody wants other shares by now, the same file included."""
        self._refuse(mine, [c for c in self.claims() if contested(c, mine)])

    def enter(self, mine: Claim) -> None:
        """Claim the wallet's positions as a portfolio file that was just opened.

        It stands in for what the same file said before, and for one of its name that was moved
        away. Raises ConfigError where another portfolio wants other shares.
        """
        seen, claims = self._read()
        self._refuse(mine, self._against(mine, claims))
        self._write(mine, [c for c in claims if not self._succeeds(mine, c)], seen)

    def keep(self, mine: Claim) -> None:
        """Claim them again, later in the same process; raises as ``check_kept`` does."""
        seen, claims = self._read()
        self._refuse(mine, [c for c in claims if contested(c, mine)])
        self._write(mine, [c for c in claims if not self._is_same(mine, c)], seen)

    def take_over(self, mine: Claim) -> tuple[Claim, ...]:
        """Claim them whoever had them; returns the claims that are void by that."""
        seen, claims = self._read()
        lost = self._against(mine, claims)
        kept = [c for c in claims if c not in lost and not self._succeeds(mine, c)]
        self._write(mine, kept, seen)
        return lost

    def _against(self, mine: Claim, claims: Sequence[Claim]) -> tuple[Claim, ...]:
        return tuple(c for c in claims if contested(c, mine) and not self._succeeds(mine, c))

    def _succeeds(self, mine: Claim, other: Claim) -> bool:
        """Whether a file opened now is the other's successor: the same file, or it was moved."""
        moved = self._here and mine.portfolio == other.portfolio and _is_gone(Path(other.file))
        return moved or self._is_same(mine, other)

    def _is_same(self, mine: Claim, other: Claim) -> bool:
        """Whether both are of one file; elsewhere a path alone does not say so."""
        return mine.file == other.file and (self._here or mine.portfolio == other.portfolio)

    def _refuse(self, mine: Claim, against: Sequence[Claim]) -> None:
        for other in against:
            if self._is_same(mine, other):
                raise ConfigError(
                    f"{mine.file} was changed, and another run trades by it since this one began",
                    hint="start this one again: it then goes by the file as it is",
                )
            both = ", ".join(contested(mine, other))
            raise ConfigError(
                f"{self._wallet} is kept by the portfolio {other.portfolio} ({other.file}), and"
                f" {mine.portfolio} wants other shares of its {both}: each would undo what the"
                " other does",
                hint="give each position of a wallet to one portfolio; to hand them over, stop"
                f" {other.portfolio} and run `rebalancer resume --take-over -p {mine.file}`",
            )

    def _read(self) -> tuple[str | None, tuple[Claim, ...]]:
        from pydantic import TypeAdapter, ValidationError

        try:
            text = self._shelf.read()
            found = () if text is None else TypeAdapter(tuple[Claim, ...]).validate_json(text)
        except (OSError, UnicodeDecodeError, ValidationError):
            raise LedgerError(
                f"which portfolios trade for {self._wallet} cannot be read from {self._shelf.name}",
                hint=self._shelf.mend,
            ) from None
        return text, found

    def _write(self, mine: Claim, others: Sequence[Claim], seen: str | None) -> None:
        text = to_json(sorted((*others, mine), key=lambda c: (c.file, c.portfolio)))
        if text != seen:
            self._shelf.write(text, seen)


class Tenure:
    """One process's hold on the positions of its wallet: entered once, then kept."""

    def __init__(self, registers: Sequence[Register], mine: Claim) -> None:
        self._registers = registers
        self._mine = mine
        self._entered = False

    def check(self) -> None:
        """Raise ConfigError where this portfolio may not trade; changes nothing."""
        for register in self._registers:
            (register.check_kept if self._entered else register.check)(self._mine)

    def hold(self) -> None:
        """Claim the positions before anything is signed or sent; raises as ``Register`` does."""
        self.check()
        for register in self._registers:
            (register.keep if self._entered else register.enter)(self._mine)
        self._entered = True

    def take_over(self) -> tuple[Claim, ...]:
        """Claim them from whoever has them; returns the claims that are void by that."""
        lost = (claim for register in self._registers for claim in register.take_over(self._mine))
        return tuple(dict.fromkeys(lost))


def _is_gone(file: Path) -> bool:
    """Whether the file is known not to be there; one that may not be looked at may be."""
    try:
        return not file.exists()
    except OSError:
        return False
