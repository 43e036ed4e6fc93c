"""Who a wallet's positions belong to: no two portfolios trade against each other, in any process.

Each portfolio that may send leaves what it wants of the wallet in a file beside the wallet's lease.
Another one that wants other shares of the same positions is refused there until a person hands the
wallet over. Read and written under the lease alone; every write is one rename.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError, LedgerError
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


class Register:
    """The claims on one wallet of a chain. Whoever calls a method that writes has the lease."""

    def __init__(self, folder: Path, chain_id: int, wallet: str) -> None:
        self._path = folder / f"{chain_id}-{wallet.lower()}.claims.json"
        self._wallet = wallet

    def claims(self) -> tuple[Claim, ...]:
        """All claims there are; raises LedgerError for a file that cannot be read or trusted."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(tuple[Claim, ...]).validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError):
            raise LedgerError(
                f"which portfolios trade for {self._wallet} cannot be read from {self._path}",
                hint="see that no other portfolio trades for this wallet, then delete that file",
            ) from None

    def check(self, mine: Claim) -> None:
        """Raise ConfigError where a claim keeps out a portfolio file that is opened now."""
        for other in self._against(mine):
            raise self._refusal(mine, other)

    def enter(self, mine: Claim) -> None:
        """Claim the wallet's positions as a portfolio file that was just opened.

        It stands in for what the same file said before, and for one of its name that was moved
        away. Raises ConfigError where another portfolio wants other shares.
        """
        self.check(mine)
        self._write([c for c in self.claims() if not _succeeds(mine, c)], mine)

    def keep(self, mine: Claim) -> None:
        """Claim them again, later in the same process.

        Raises ConfigError where anybody wants other shares by now, the same file included.
        """
        for other in self.claims():
            if contested(other, mine) and other.file == mine.file:
                raise ConfigError(
                    f"{mine.file} was changed, and another run trades by it since this one began",
                    hint="start this one again: it then goes by the file as it is",
                )
            if contested(other, mine):
                raise self._refusal(mine, other)
        self._write([c for c in self.claims() if c.file != mine.file], mine)

    def take_over(self, mine: Claim) -> tuple[Claim, ...]:
        """Claim them whoever had them; returns the claims that are void by that."""
        lost = self._against(mine)
        kept = [c for c in self.claims() if c not in lost and not _succeeds(mine, c)]
        self._write(kept, mine)
        return lost

    def _against(self, mine: Claim) -> tuple[Claim, ...]:
        return tuple(c for c in self.claims() if contested(c, mine) and not _succeeds(mine, c))

    def _refusal(self, mine: Claim, other: Claim) -> ConfigError:
        both = ", ".join(contested(mine, other))
        return ConfigError(
            f"{self._wallet} is kept by the portfolio {other.portfolio} ({other.file}), and"
            f" {mine.portfolio} wants other shares of its {both}: each would undo what the other"
            " does",
            hint="give each position of a wallet to one portfolio; to hand them over, stop"
            f" {other.portfolio} and run `rebalancer resume --take-over -p {mine.file}`",
        )

    def _write(self, others: list[Claim], mine: Claim) -> None:
        wanted = to_json([*others, mine]).encode()
        try:
            if self._path.exists() and self._path.read_bytes() == wanted:
                return
            draft = self._path.with_suffix(".draft")  # the lease keeps a second writer out
            with draft.open("wb") as file:
                file.write(wanted)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise LedgerError(
                f"{self._path} cannot be written: {os.strerror(error.errno or 0)}",
                hint="make its folder writable, or name another with XDG_STATE_HOME",
            ) from None


class Tenure:
    """One process's hold on the positions of its wallet: entered once, then kept."""

    def __init__(self, register: Register, mine: Claim) -> None:
        self._register = register
        self._mine = mine
        self._entered = False

    def check(self) -> None:
        """Raise ConfigError where this portfolio may not trade; changes nothing."""
        self._register.check(self._mine)

    def hold(self) -> None:
        """Claim the positions before anything is signed or sent; raises as ``Register`` does."""
        (self._register.keep if self._entered else self._register.enter)(self._mine)
        self._entered = True

    def take_over(self) -> tuple[Claim, ...]:
        """Claim them from whoever has them; returns the claims that are void by that."""
        return self._register.take_over(self._mine)


def _succeeds(mine: Claim, other: Claim) -> bool:
    """Whether a file opened now is the other's successor: the same file, or the same one moved."""
    if mine.file == other.file:
        return True
    return mine.portfolio == other.portfolio and _is_gone(Path(other.file))


def _is_gone(file: Path) -> bool:
    """Whether the file is known not to be there; one that may not be looked at may be."""
    try:
        return not file.exists()
    except OSError:
        return False
