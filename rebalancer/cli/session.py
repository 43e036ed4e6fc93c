"""What a verb works with: the portfolio, the environment, the node, the ledger, the signer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebalancer.config.environment import LEDGER, PRIVATE_KEY, Environment, split_urls
from rebalancer.config.load import load_portfolio
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError, NonceConflict

if TYPE_CHECKING:
    from rebalancer.bundler.follow import Pace
    from rebalancer.bundler.signer import Signer
    from rebalancer.cli.signals import Stop
    from rebalancer.evm.endpoints import Endpoints
    from rebalancer.keeper.claims import Tenure
    from rebalancer.keeper.cycle import CycleResult, Evaluation
    from rebalancer.keeper.reading import Due, Reads
    from rebalancer.ledger.store import Ledger
    from rebalancer.model import Amount, Snapshot


@dataclass(frozen=True)
class Session:
    """One portfolio file with everything around it; parts are made when they are first used."""

    portfolio_path: Path
    resolved: ResolvedPortfolio
    environment: Environment
    rpc_url: str | None
    ledger_name: str | None

    @classmethod
    def open(
        cls,
        portfolio: Path,
        networks: Path | None = None,
        rpc_url: str | None = None,
        ledger: str | None = None,
    ) -> Session:
        resolved = load_portfolio(portfolio, networks)
        return cls(portfolio, resolved, Environment.load(portfolio.parent), rpc_url, ledger)

    @cached_property
    def rpc(self) -> Endpoints:
        """The nodes, once one of them has shown that it serves the portfolio's chain."""
        from rebalancer.evm.endpoints import Endpoints
        from rebalancer.readers.chain import check_chain_id

        network = self.resolved.network
        rpc = Endpoints.at(self._urls(), network.chain_id, network.rpc.to_limits())
        check_chain_id(rpc, network)
        return rpc

    def _urls(self) -> tuple[str, ...]:
        variable = self.resolved.network.rpc_url_env
        return tuple(split_urls(self.rpc_url or "") or self.environment.rpc_urls(variable))

    @cached_property
    def anvil_instance(self) -> str | None:
        """Identity of the local Anvil we talk to, None on anything else.

        A fork shares its chain id with the real chain, so what happens there must never be mixed
        into the real ledger, from where a later run would pick up its transactions.
        """
        from rebalancer.evm.rpc import RpcError

        try:
            metadata: Any = self.rpc.call("anvil_metadata")
        except RpcError:
            return None
        return str(metadata["instanceId"]) if isinstance(metadata, dict) else None

    def ledger(self, create: bool = True) -> Ledger:
        """The ledger of this portfolio; made if it is new, unless ``create`` is False."""
        from rebalancer.ledger.store import Ledger

        return Ledger.open(self.ledger_place(), clock=lambda: int(time.time()), create=create)

    def ledger_if_any(self) -> Ledger | None:
        """The ledger; None where there is none yet."""
        place = self.ledger_place()
        if "://" not in place and not Path(place).exists():
            return None
        return self.ledger(create=False)

    def last_rebalance_ts(self) -> int | None:
        """When the portfolio was last rebalanced (block time); asks no ledger into being."""
        book = self.ledger_if_any()
        if book is None:
            return None
        with book:
            return book.last_rebalance_ts(self.resolved.portfolio.name)

    def last_rebalance_block(self, up_to: int) -> int | None:
        """Block of the newest executed plan up to block ``up_to``; asks no ledger into being."""
        from rebalancer.ledger.queries import rebalances

        book = self.ledger_if_any()
        if book is None:
            return None
        with book:
            executed = [
                transaction.outcome.block_number
                for record in rebalances(book, self.resolved.portfolio.name)
                for transaction in record.transactions
                if record.state == "executed" and transaction.outcome is not None
            ]
        return max((number for number in executed if number <= up_to), default=None)

    def exchanged(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Tokens whose code is another than at the last decision; asks no ledger into being."""
        from rebalancer.ledger.proxies import exchanged

        book = self.ledger_if_any()
        if book is None:
            return ()
        with book:
            return exchanged(book, self.resolved.portfolio.name, snapshot)

    def evaluate(self, block: int | None = None, withdrawal: Amount | None = None) -> Evaluation:
        """What would be decided at ``block``; asks no ledger into being."""
        from rebalancer.keeper.cycle import evaluate

        book = self.ledger_if_any()
        if book is None:
            return evaluate(self.rpc, self.resolved, None, block, withdrawal=withdrawal)
        with book:
            last_ts = book.last_rebalance_ts(self.resolved.portfolio.name, block)
            return evaluate(
                self.rpc, self.resolved, last_ts, block, ledger=book, withdrawal=withdrawal
            )

    def withdrawal(self, text: str | None) -> Amount | None:
        """What ``--raise`` asks for."""
        from rebalancer.keeper.circumstances import withdrawal_of

        return None if text is None else withdrawal_of(self.resolved, text)

    def due(self) -> Due:
        """The portfolio as one of several that are read together."""
        from rebalancer.keeper.reading import Due

        return Due(self.resolved, self._nodes(), lambda: self.rpc)

    def _nodes(self) -> tuple[str, ...]:
        """The nodes' addresses; none where they are not configured, which the first read says."""
        try:
            return self._urls()
        except ConfigError:
            return ()

    def cycle(
        self,
        execute: bool,
        withdrawal: Amount | None = None,
        reads: Reads | None = None,
        stop: Stop | None = None,
    ) -> CycleResult:
        """One keeper cycle, holding the lease of whoever's nonce it may use while it may send.

        Raises Stopped some seconds after ``stop`` was told, with what is out in the ledger.
        """
        from rebalancer.cli.keys import open_keys
        from rebalancer.cli.lane import open_lane
        from rebalancer.keeper.cycle import run, run_dry

        with self.ledger() as ledger:
            if not execute:
                return run_dry(self.rpc, self.resolved, ledger, withdrawal, reads)
            keys = open_keys(self)
            with self.leases(keys.signer):
                lane = open_lane(self, keys.signer)
                pace, owners = self.pace(stop), keys.owners
                return run(
                    self.rpc,
                    self.resolved,
                    ledger,
                    keys.signer,
                    pace,
                    lane,
                    withdrawal,
                    owners,
                    reads,
                    self.tenure.hold,
                )

    @contextmanager
    def alone(self, signer: Signer) -> Iterator[None]:
        """Hold the signer's lease for a transaction that is of no plan.

        Raises Paused while the kill switch is set, NonceConflict while a plan's transaction of the
        signer may still want a nonce.
        """
        from rebalancer.keeper.lease import hold_lease
        from rebalancer.keeper.stop import kill_guard

        kill_guard(state_folder())()
        chain_id = self.resolved.network.chain_id
        with hold_lease(self.lease_folder(), chain_id, signer.address):
            self._check_nothing_open(signer.address)
            yield

    def _check_nothing_open(self, sender: str) -> None:
        book = self.ledger_if_any()
        if book is None:
            return
        portfolio, chain_id = self.resolved.portfolio, self.resolved.network.chain_id
        with book:
            bundles = book.open_bundles(chain_id, portfolio.wallet)
        out = [tx for _, bundle in bundles for tx in bundle.transactions if tx.sender == sender]
        if out:
            raise NonceConflict(
                f"{len(out)} transaction(s) of {portfolio.name} are not at their end, the first has"
                f" nonce {out[0].nonce}",
                hint="run `rebalancer rebalance --execute`, which settles them first",
            )

    @contextmanager
    def leases(self, sender: Signer | None) -> Iterator[None]:
        """The lease of the wallet, and that of who sends for a wallet which is a Safe."""
        from rebalancer.keeper.lease import hold_lease

        wallet, chain_id = self.resolved.portfolio.wallet, self.resolved.network.chain_id
        folder = self.lease_folder()
        with ExitStack() as held:
            held.enter_context(hold_lease(folder, chain_id, wallet))
            if sender is not None and sender.address.lower() != wallet.lower():
                held.enter_context(hold_lease(folder, chain_id, sender.address))
            yield

    @cached_property
    def tenure(self) -> Tenure:
        """This process's hold on the wallet's positions, which no two portfolios may pull at."""
        from rebalancer.keeper.claims import FileShelf, LedgerShelf, Register, Tenure, claim_of

        chain_id, wallet = self.resolved.network.chain_id, self.resolved.portfolio.wallet
        beside = FileShelf.beside_lease(self.lease_folder(), chain_id, wallet)
        book = LedgerShelf(
            lambda create: self.ledger() if create else self.ledger_if_any(), chain_id, wallet
        )
        # Those who share a database may be on other machines.
        here = "://" not in self.ledger_place()
        registers = (Register(beside, wallet), Register(book, wallet, here))
        return Tenure(registers, claim_of(self.resolved, self.portfolio_path))

    def pace(self, stop: Stop | None = None) -> Pace:
        """Waiting by this machine's clock, until ``stop``; a local Anvil is asked more often."""
        from rebalancer.bundler.follow import Pace

        poll_s = 0.05 if self.anvil_instance else 1.0
        told_s = (lambda: None) if stop is None else stop.told_s
        return Pace(clock=time.monotonic, sleep=time.sleep, poll_s=poll_s, told_s=told_s)

    def ledger_place(self) -> str:
        """Where the ledger is: --ledger, REBALANCER_LEDGER, or beside the portfolio file.

        Each Anvil instance has one of its own beside what is named, see docs/decisions/0003.
        """
        beside = self.portfolio_path.parent / f"{self.resolved.portfolio.name}.sqlite"
        named = self.ledger_name or self.environment.get(LEDGER) or str(beside)
        if "://" not in named and Path(named).is_dir():
            raise ConfigError(
                f"{named} is a folder, not a ledger", hint="name a file in it: --ledger FILE"
            )
        if self.anvil_instance is None:
            return named
        if "://" in named:
            raise ConfigError(
                "what happens on a fork does not belong into a shared database",
                hint=f"leave --ledger and {LEDGER} away, or name a file",
            )
        path = Path(named)
        return str(path.with_name(f"{path.stem}.{self._realm()}{path.suffix or '.sqlite'}"))

    def lease_folder(self) -> Path:
        """Where this chain's leases are: a fork's never keep the real chain's keeper out."""
        return state_folder() / self._realm() if self.anvil_instance else state_folder()

    def _realm(self) -> str:
        return f"anvil-{str(self.anvil_instance)[2:10]}"

    def signer(self) -> Signer:
        """What signs for the wallet, or sends for a Safe; raises ConfigError without a key."""
        from rebalancer.cli.keys import open_keys

        safe = self.resolved.portfolio.mode == "safe"
        signer = open_keys(self).signer if safe else self.signer_if_any()
        if signer is None:
            raise ConfigError(
                "there is no key to sign with",
                hint="set REBALANCER_KEYSTORE or REBALANCER_PRIVATE_KEY in .env (see .env.example)",
            )
        return signer

    def signer_if_any(self) -> Signer | None:
        """Keystore, private key, or the public key of a dev account; None without any of them.

        A dev account's key is public knowledge, so it is used on a local Anvil alone.
        """
        from rebalancer.bundler.signer import LocalSigner

        keystore = self.environment.keystore()
        if keystore is not None:
            return LocalSigner.from_keystore(*keystore)
        key = self.environment.get(PRIVATE_KEY)
        if key is not None:
            return LocalSigner.from_key(key)
        if self.anvil_instance is not None and self.resolved.portfolio.mode != "safe":
            from rebalancer.devchain.accounts import dev_key

            key = dev_key(self.resolved.portfolio.wallet)
            if key is not None:
                return LocalSigner.from_key(key)
        return None


def state_folder() -> Path:
    """Where the leases are: per user of this machine, whatever folder a process works in."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "rebalancer"
