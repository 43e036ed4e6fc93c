"""Value objects and integer arithmetic; knows nothing of files, networks or clocks.

Everything is frozen. On-chain quantities are integers in the token's smallest unit beside their
token, values are integers in 1e-8 of the numeraire, ratios are in parts per million.
"""

from rebalancer.model.canonical import ADDED_LATER, digest, to_json, to_plain
from rebalancer.model.circumstances import Circumstances
from rebalancer.model.flow import Flow, FlowKind
from rebalancer.model.gas import GasCorrection, GasSchedule, PlannedGas, TokenGas
from rebalancer.model.goal import Goal, Scheme
from rebalancer.model.leg import (
    AddLeg,
    Leg,
    RemoveLeg,
    SwapLeg,
    UnwrapLeg,
    WrapLeg,
    contract_of,
    forwards,
    share_token,
)
from rebalancer.model.order import Clock, Order, SliceRules, SoFar
from rebalancer.model.outcome import (
    Bundle,
    Fill,
    GasComponent,
    SignedTransaction,
    Simulation,
    TransactionOutcome,
)
from rebalancer.model.plan import (
    Costs,
    Decision,
    ExpectedPosition,
    Hold,
    Plan,
    Reason,
    Rebalance,
)
from rebalancer.model.policy import PlannerKind, Policy, ResetRule, TriggerKind
from rebalancer.model.price import Price, Quote
from rebalancer.model.snapshot import (
    UNREADABLE,
    BlockRef,
    GasReserve,
    HeldOut,
    LpEntry,
    LpHolding,
    LpLot,
    PairState,
    Proxy,
    Reward,
    Snapshot,
    Watched,
)
from rebalancer.model.token import Amount, Token
from rebalancer.model.units import (
    BPS,
    E8,
    PPM,
    VALUE_DECIMALS,
    format_units,
    mul_div_down,
    mul_div_nearest,
    mul_div_up,
    parse_units,
)
from rebalancer.model.valuation import Exposure, LpDetail, PositionValue, Target, Valuation

__all__ = [
    "ADDED_LATER",
    "BPS",
    "E8",
    "PPM",
    "UNREADABLE",
    "VALUE_DECIMALS",
    "AddLeg",
    "Amount",
    "BlockRef",
    "Bundle",
    "Circumstances",
    "Clock",
    "Costs",
    "Decision",
    "ExpectedPosition",
    "Exposure",
    "Fill",
    "Flow",
    "FlowKind",
    "GasComponent",
    "GasCorrection",
    "GasReserve",
    "GasSchedule",
    "Goal",
    "HeldOut",
    "Hold",
    "Leg",
    "LpDetail",
    "LpEntry",
    "LpHolding",
    "LpLot",
    "Order",
    "PairState",
    "Plan",
    "PlannedGas",
    "PlannerKind",
    "Policy",
    "PositionValue",
    "Price",
    "Proxy",
    "Quote",
    "Reason",
    "Rebalance",
    "RemoveLeg",
    "ResetRule",
    "Reward",
    "Scheme",
    "SignedTransaction",
    "Simulation",
    "SliceRules",
    "Snapshot",
    "SoFar",
    "SwapLeg",
    "Target",
    "Token",
    "TokenGas",
    "TransactionOutcome",
    "TriggerKind",
    "UnwrapLeg",
    "Valuation",
    "Watched",
    "WrapLeg",
    "contract_of",
    "digest",
    "format_units",
    "forwards",
    "mul_div_down",
    "mul_div_nearest",
    "mul_div_up",
    "parse_units",
    "share_token",
    "to_json",
    "to_plain",
]
