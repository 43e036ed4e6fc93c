"""``rebalancer keeper``: cycles by schedule, until told to stop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rebalancer.cli.options import (
    ExecuteOption,
    JsonOption,
    LedgerOption,
    NetworksOption,
    RpcUrlOption,
)
from rebalancer.cli.signals import Stop, stop_event
from rebalancer.cli.slices import LEFT_AT_ONCE, LOOK_EVERY_S, LookAfter, summary
from rebalancer.errors import (
    ConfigError,
    ExecutionError,
    LedgerError,
    RebalancerError,
    Stopped,
)

if TYPE_CHECKING:
    from rebalancer.cli.session import Session
    from rebalancer.keeper.cycle import CycleResult
    from rebalancer.keeper.reading import SharedReads

#: Exit codes from harmless to worst: a cycle left to another process, ..., an untrue ledger.
_BY_SEVERITY = (0, 7, 8, 4, 3, 1, 2, 5, 6)


def keeper(
    portfolio: Annotated[
        list[Path],
        typer.Option(
            "--portfolio", "-p", help="A portfolio file; repeat for several.", metavar="FILE"
        ),
    ] = [Path("portfolio.yaml")],  # noqa: B006 - Typer's way to a default
    networks: NetworksOption = None,
    rpc_url: RpcUrlOption = None,
    ledger: LedgerOption = None,
    once: Annotated[bool, typer.Option("--once", help="One cycle each, then exit.")] = False,
    execute: ExecuteOption = False,
    json: JsonOption = False,
) -> None:
    """Run each portfolio's cycle by its schedule; dry runs unless --execute.

    Ctrl-C or SIGTERM lets the cycle at work finish, or leaves what the chain does not mine within
    seconds to the next start; a second one leaves at once. A ledger error stops everything; a wrong
    configuration or, with --execute, an execution error halts its portfolio; other errors skip a
    cycle. Exits with the worst code of the portfolios' last cycles.
    """
    from rebalancer.cli.session import Session
    from rebalancer.keeper.reading import SharedReads

    sessions = [Session.open(path, networks, rpc_url, ledger) for path in portfolio]
    _check_names([session.resolved.portfolio.name for session in sessions])
    if execute:
        _check_no_tug_of_war(sessions)
    stop = Stop() if once else stop_event(LEFT_AT_ONCE)
    reads = SharedReads()
    watches = [Watch(session, execute, json, stop, reads) for session in sessions]

    def begin(names: Sequence[str]) -> None:
        reads.begin(w.due for w in watches if w.name in names and not w.halted)

    if once:
        begin([watch.name for watch in watches])
        for watch in watches:
            watch.cycle()
        _exit(watches)
        return

    from rebalancer.cli.output import note
    from rebalancer.config.portfolio import Schedule
    from rebalancer.keeper.schedule import Job, run_schedule

    note(f"keeping {len(sessions)} portfolio(s){'' if execute else ', dry runs'}; Ctrl-C stops")

    def cycle(watch: Watch) -> None:
        watch.cycle()
        if all(other.halted for other in watches):
            stop.set()

    jobs = [Job(w.name, w.session.resolved.portfolio.schedule, partial(cycle, w)) for w in watches]
    often = Schedule(every=f"{LOOK_EVERY_S}s")
    jobs += [
        Job(f"{w.name}, slices", often, LookAfter(w.session, partial(cycle, w)))
        for w in watches
        if execute and w.session.resolved.portfolio.execution is not None
    ]
    run_schedule(jobs, stop, begin)
    note("stopped")
    _exit(watches)


class Watch:
    """One portfolio under the keeper: what its cycles said, and whether it is halted."""

    def __init__(
        self, session: Session, execute: bool, as_json: bool, stop: Stop, reads: SharedReads
    ) -> None:
        from rebalancer.keeper.reading import Turn

        self.session = session
        self.due = session.due()
        self._reads = Turn(reads, self.due)
        self.name = session.resolved.portfolio.name
        self.exit_code = 0
        self.halted = False
        self._execute = execute
        self._as_json = as_json
        self._stop = stop

    def cycle(self) -> None:
        """One cycle and one line about it; the class of an error decides what follows."""
        if self.halted:
            return
        try:
            result = self.session.cycle(self._execute, reads=self._reads, stop=self._stop)
        except Stopped as error:
            self.exit_code = 0
            self._told(error, "left to the next start")
            return
        except RebalancerError as error:
            self._failed(error)
            return
        except Exception as error:  # noqa: BLE001 - one portfolio's surprise is not the others'
            self._failed(_unexpected(error))
            return
        if result.refusal is not None:
            self._failed(result.refusal)
            return
        self.exit_code = 0
        from rebalancer.cli.rebalance import cycle_document

        changed = self.session.exchanged(result.evaluation.snapshot)
        document = {**cycle_document(result), "portfolio": self.name, "exchanged": list(changed)}
        self._say(document, "; ".join([_summary(result) + summary(result), *changed]))

    def _failed(self, error: RebalancerError) -> None:
        self.exit_code = error.exit_code
        follow_up = "skipped this cycle"
        if isinstance(error, LedgerError):
            follow_up = "stopped everything"
            self.halted = True
            self._stop.set()
        elif self._halts(error):
            follow_up = "halted this portfolio until the keeper is restarted"
            self.halted = True
        self._told(error, follow_up)

    def _told(self, error: RebalancerError, follow_up: str) -> None:
        from rebalancer.cli.output import error_document, way_out

        follows = f"; way out: {way_out(error)}"
        self._say(
            {"portfolio": self.name, "error": error_document(error), "follow_up": follow_up},
            f"{type(error).__name__}: {error}{follows}; {follow_up}",
        )

    def _halts(self, error: RebalancerError) -> bool:
        """Whether going on is pointless or dangerous; a dry run is neither for want of an executor.

        The plain RebalancerError is a surprise.
        """
        if isinstance(error, ConfigError) or type(error) is RebalancerError:
            return True
        return self._execute and isinstance(error, ExecutionError)

    def _say(self, document: object, line: str) -> None:
        from rebalancer.cli.output import show_json, show_line

        if self._as_json:
            show_json(document)
            return
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        show_line(f"{now} {self.name}: {line}")


def _check_names(names: list[str]) -> None:
    """Portfolios are told apart by name: in the ledger, in the log and in the schedule."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two of the portfolios are called {name!r}", hint="rename one")


def _check_no_tug_of_war(sessions: Sequence[Session]) -> None:
    """Portfolios that want other shares of the same holdings would trade against each other.

    Those of other processes are found by the first cycle, see ``keeper.claims``.
    """
    from rebalancer.keeper.claims import claim_of, contested

    for first, second in combinations(sessions, 2):
        mine, other = second.resolved, first.resolved
        both = contested(
            claim_of(mine, second.portfolio_path), claim_of(other, first.portfolio_path)
        )
        same_wallet = mine.portfolio.wallet == other.portfolio.wallet
        if both and same_wallet and mine.network.chain_id == other.network.chain_id:
            raise ConfigError(
                f"{other.portfolio.name} and {mine.portfolio.name} want other shares of one"
                f" wallet's {', '.join(both)}: each would undo what the other does",
                hint="give each position of a wallet to one portfolio",
            )


def _unexpected(error: Exception) -> RebalancerError:
    return RebalancerError(
        f"this should not have happened: {type(error).__name__}",
        hint="run `rebalancer --debug rebalance` on this portfolio, and report what it prints",
    )


def _summary(result: CycleResult) -> str:
    from rebalancer.model import Hold
    from rebalancer.report.numbers import money

    evaluation = result.evaluation
    numeraire = evaluation.valuation.numeraire
    nav = f"{money(evaluation.valuation.nav_e8, numeraire)} {numeraire}"
    head = f"{_settled(result)}block {evaluation.snapshot.block.number}, NAV {nav}: "
    if isinstance(evaluation.decision, Hold):
        first, *more = evaluation.decision.reasons
        return head + f"hold: {first.text}" + (f" (and {len(more)} more)" if more else "")
    if result.awaits_approval:
        from rebalancer.cli.rebalance import awaited

        return head + awaited(result)
    if result.proposed is not None:
        from rebalancer.cli.rebalance import proposed

        return head + proposed(result)
    if result.outcomes:
        return head + f"rebalanced in {result.outcomes[-1].tx_hash}"
    return head + f"would rebalance, {len(evaluation.decision.plan.legs)} leg(s) (dry run)"


def _settled(result: CycleResult) -> str:
    """What an earlier run had left open, and what became of it."""
    if not result.recovered:
        return ""
    mined = [outcome.tx_hash for item in result.recovered for outcome in item.outcomes]
    return f"settled an earlier run, mined: {', '.join(mined) or 'nothing'}; "


def _exit(watches: list[Watch]) -> None:
    worst = max((watch.exit_code for watch in watches), key=_BY_SEVERITY.index)
    if worst:
        raise typer.Exit(worst)
