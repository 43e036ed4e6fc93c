"""One tree of errors; the class tells the keeper what to do and the shell what to return.

RebalancerError                1
  ConfigError                  2   stop; a file, flag or key is wrong
  ReadError                    3   skip the cycle; the chain could not be read or trusted
    RpcUnavailable, ChainMismatch, StalePrice, PriceDisagreement
  PlanError                    4   skip the cycle; no acceptable plan exists
    LimitBreached, Infeasible, StalePlan, SimulationMismatch
  ExecutionError               5   halt the portfolio
    ExecutorMissing, InsufficientGas, MissingAllowance, SimulationReverted,
    TransactionReverted, NonceConflict
  LedgerError                  6   halt everything
    ReconciliationMismatch
  LeaseHeld                    7   skip the cycle; another process acts for the wallet
  Paused                       8   skip the cycle; a person has stopped the trading
  Stopped                    130   leave; a person wants this process to end
"""

from __future__ import annotations


class RebalancerError(Exception):
    """What went wrong in one line, and the way out in a second one."""

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        block: int | None = None,
        tx_hash: str | None = None,
        plan_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.block = block
        self.tx_hash = tx_hash
        self.plan_id = plan_id


class ConfigError(RebalancerError):
    """A file, a flag or an environment variable is wrong; names it and what was expected."""

    exit_code = 2


class ReadError(RebalancerError):
    """The chain could not be read, or what was read cannot be trusted."""

    exit_code = 3


class RpcUnavailable(ReadError):
    """The endpoint did not answer, or refused to."""


class ChainMismatch(ReadError):
    """The endpoint serves another chain than the one configured."""


class StalePrice(ReadError):
    """A price is older than its feed allows, or not a price at all."""


class PriceDisagreement(ReadError):
    """Two sources of one price are further apart than allowed."""


class PlanError(RebalancerError):
    """No plan that keeps every limit exists."""

    exit_code = 4


class LimitBreached(PlanError):
    """A plan would break a limit of the policy."""


class Infeasible(PlanError):
    """The targets cannot be reached through the pools there are."""


class StalePlan(PlanError):
    """A plan is too old, or its block was reorganised away; plan again."""


class SimulationMismatch(PlanError):
    """The simulated outcome is not the planned one: the market moved, plan again."""


class ExecutionError(RebalancerError):
    """A plan could not be turned into a mined transaction; the portfolio halts."""

    exit_code = 5


class ExecutorMissing(ExecutionError):
    """There is no executor contract, or another one, at the expected address."""


class InsufficientGas(ExecutionError):
    """The wallet cannot pay for its own transaction."""


class MissingAllowance(ExecutionError):
    """The executor may not take what the plan sells, and may not be allowed to."""


class SimulationReverted(ExecutionError):
    """The node says that the bundle would revert."""


class TransactionReverted(ExecutionError):
    """A transaction was mined and reverted."""


class NonceConflict(ExecutionError):
    """Something else uses the wallet's nonces."""


class LedgerError(RebalancerError):
    """The record of what happened is damaged, locked or untrue."""

    exit_code = 6


class ReconciliationMismatch(LedgerError):
    """The ledger and the chain tell different stories."""


class LeaseHeld(RebalancerError):
    """Another process acts for this wallet right now."""

    exit_code = 7


class Paused(RebalancerError):
    """A person has stopped the trading, of a portfolio or of all; it stays so until resumed."""

    exit_code = 8


class Stopped(RebalancerError):
    """This process was told to end, by Ctrl-C or SIGTERM; what is out is the next one's."""

    exit_code = 130
