"""Why a decision is what it is: every question that was asked of it, and every answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rebalancer.amm.valuation import value
from rebalancer.model import PPM, Policy, Reason, mul_div_nearest
from rebalancer.model.canonical import ADDED_LATER
from rebalancer.planner.attempts import attempt
from rebalancer.planner.bands import band_ppm, grouped
from rebalancer.planner.benefit import penalty_up_e8
from rebalancer.planner.calibration import Rules, Wander, settle
from rebalancer.planner.costs import cost_gate
from rebalancer.planner.decision import asked, pose, proposer_of
from rebalancer.planner.guards import LIMITS, violations
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.lvr import Lvr, expected_losses, in_words
from rebalancer.planner.market import open_market
from rebalancer.planner.metric import metric_of
from rebalancer.planner.problem import Problem, Proposal
from rebalancer.planner.proposing import proposed
from rebalancer.planner.reasons import most_gain
from rebalancer.planner.texts import gwei, money, percent, points, told_apart
from rebalancer.planner.volatility import YEAR_S
from rebalancer.planner.weighed import weighed

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Drifting:
    """What the present drift costs, and where that number comes from.

    ``penalty_e8`` is expected until the drift would be traded away otherwise, ``horizon_s`` from
    now, that is ``daily_e8`` a day; the two are None where kappa is a number of the file. ``bands``
    are the positions' own, with a risk aversion; where these are the rule, ``kept`` tells of each
    position that has none. ``weighed`` is what drift and sales are priced by besides kappa.
    ``losses`` are those of LP positions to arbitrage, where a volatility is known.
    """

    penalty_e8: int
    kappa_ppm: int
    horizon_s: int | None
    daily_e8: int | None
    governs: Wander | None
    bands: tuple[Wander, ...]
    kept: tuple[Reason, ...] = ()
    weighed: tuple[Reason, ...] = ()
    losses: tuple[Lvr, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One question on the way to a plan; ``passed`` None where it could not be asked.

    ``certificate`` proves what an answer says of all plans, see docs/optimal.md.
    """

    question: str
    passed: bool | None
    answers: tuple[Reason, ...]
    certificate: str | None = field(default=None, metadata=ADDED_LATER)


def drifting(inputs: Inputs) -> Drifting:
    """What doing nothing costs at the inputs' snapshot."""
    problem = posed(inputs)
    policy = problem.policy
    penalty = penalty_up_e8(problem.valuation, policy.drift_aversion_ppm, metric_of(problem))
    rules = settle(
        problem.snapshot,
        problem.valuation.nav_e8,
        tuple(sorted(inputs.targets, key=lambda t: t.position)),
        inputs.policy,
        problem.gas_schedule,
        inputs.circumstances,
    )
    horizon_s = None if rules.governs is None else _horizon_s(rules.governs, inputs.policy)
    daily = None if not horizon_s else mul_div_nearest(penalty, DAY_S, horizon_s)
    kept = _bands_kept(problem, rules) if policy.reset == "optimal" else ()
    return Drifting(
        penalty,
        policy.drift_aversion_ppm,
        horizon_s,
        daily,
        rules.governs,
        rules.wanders,
        kept,
        weighed(problem),
        losses=expected_losses(problem),
    )


def _bands_kept(problem: Problem, rules: Rules) -> tuple[Reason, ...]:
    """Positions and buckets whose band is the file's, as none can be derived, and why."""
    derived, market = {w.name for w in rules.wanders}, open_market(problem.snapshot, rules.policy)
    usable = {pair.name for pair in market[0].now.values()}
    reasons = []
    for name, together in grouped(rules.targets).items():
        if name in derived:
            continue
        if not 0 < together.weight_ppm < PPM:
            why_not = f"its target is {percent(together.weight_ppm)}"
        elif name in usable and rules.policy.planner == "greedy":
            why_not = "the greedy planner trades no LP positions (planner: optimal does)"
        else:
            why_not = "no usable pool trades it"
        band = band_ppm(together, rules.policy)
        text = f"{name} keeps the file's band of {points(band)}: {why_not}"
        reasons.append(Reason("band_kept_ppm", text, band))
    return tuple(reasons)


def why(inputs: Inputs) -> tuple[Step, ...]:
    """Every step from the trigger to the guards, also those after one that says no.

    What the later ones answer is what would happen if the earlier ones had let it trade.
    """
    valuation = value(inputs.snapshot, inputs.targets)
    if valuation.unread:
        names = ", ".join(valuation.unread)
        return (Step("Is every position read?", False, (Reason("unread", f"{names} is not"),)),)
    problem = posed(inputs)
    verdict = asked(problem, inputs.last_rebalance_ts)
    steps = [Step("Is it time?", verdict.fired, verdict.reasons), _gas(problem)]
    problem, proposal = proposal_for(inputs)
    found = Reason("legs", f"{len(proposal.legs)} legs", len(proposal.legs))
    most = most_gain(problem, proposal.certificate)
    answers, proved = (found, *proposal.limits, *most), proposal.certificate if most else None
    steps.append(Step("Are there trades?", bool(proposal.legs), answers, proved))
    if not proposal.legs:
        return (*steps, Step("Are they worth it?", None, ()), Step("Do guards object?", None, ()))
    tried = attempt(problem, proposal, "", "")
    appraisal = tried.appraisal
    gate = cost_gate(problem, appraisal)
    numeraire = problem.snapshot.numeraire
    cost, benefit = appraisal.gate_cost_e8, appraisal.benefit_e8
    text = f"It would cost {money(cost, numeraire)} and remove {money(benefit, numeraire)}"
    text += " of drift penalty"
    if appraisal.costs.beside_e8:
        text += "; tax and the reserve for slippage are in it"
    if appraisal.trading_cost_e8 > appraisal.costs.total_e8:
        text += "; what pools off the oracle seem to give is not counted"
    weighed = gate or (Reason("benefit_e8", text, benefit, cost),)
    steps.append(Step("Are they worth it?", not gate, weighed))
    objections = violations(problem, tried.plan, LIMITS)
    steps.append(Step("Do the guards agree?", not objections, objections))
    return tuple(steps)


def proposal_for(inputs: Inputs) -> tuple[Problem, Proposal]:
    """What the policy's planner proposes, trigger or not, and the problem that it does so for."""
    problem = posed(inputs)
    only_raise = asked(problem, inputs.last_rebalance_ts).only_raise
    return proposed(
        replace(problem, only_raise=only_raise),
        proposer_of(inputs.policy),
        lambda gas_wei: replace(posed(inputs, gas_wei), only_raise=only_raise),
    )


def posed(inputs: Inputs, gas_wei: int | None = None) -> Problem:
    """The problem that is decided on; ``gas_wei`` of the ether stay for the plan's own gas."""
    valuation = value(inputs.snapshot, inputs.targets)
    return pose(
        inputs.snapshot,
        valuation,
        inputs.targets,
        inputs.policy,
        inputs.circumstances,
        gas_wei,
    )


def _gas(problem: Problem) -> Step:
    price, ceiling = problem.gas_price_wei, problem.policy.max_gas_price_wei
    shown, limit = told_apart(gwei, price, ceiling, most_places=9)
    text = f"Gas costs {shown}, the ceiling is {limit}"
    reason = Reason("max_gas_price_wei", text, price, ceiling)
    return Step("Is gas cheap enough?", price <= ceiling, (reason,))


def _horizon_s(governs: Wander, policy: Policy) -> int | None:
    """``kappa / A``: how long a drift stays if nothing else is done, for it to cost its penalty."""
    sigma_squared = governs.volatility_ppm**2 * (policy.risk_aversion_ppm or 0)
    if not sigma_squared:
        return None
    return mul_div_nearest(governs.kappa_ppm * YEAR_S, PPM * PPM, sigma_squared)


def told(drift: Drifting, numeraire: str) -> tuple[str, ...]:
    """The same in sentences."""
    kappa = percent(drift.kappa_ppm)
    now = f"The drift costs {money(drift.penalty_e8, numeraire)}"
    kept = tuple(reason.text for reason in (*drift.kept, *drift.weighed))
    kept += tuple(in_words(lvr, numeraire) for lvr in drift.losses)
    if drift.governs is None or drift.horizon_s is None or drift.daily_e8 is None:
        alone = f"{now} if nothing is done: drift_aversion (kappa) {kappa} of the portfolio file"
        return (alone, *kept)
    w = drift.governs
    days = drift.horizon_s // DAY_S
    return (
        f"{now} if nothing is done for {days} days, {money(drift.daily_e8, numeraire)} a day",
        f"kappa {kappa} = 2 J / s^2 of {w.name}: its weight drifts by s = {percent(w.drift_ppm)} a "
        f"year (volatility {percent(w.volatility_ppm)} against the rest)",
        f"a trade costs {percent(w.fixed_ppm, 4)} of NAV for gas and {percent(w.rate_ppm)} of its "
        f"size; the cheapest rule trades at {percent(w.trigger_ppm)} back to "
        f"{percent(w.reset_ppm)}, for J = {percent(w.cost_ppm, 4)} of NAV a year",
        *kept,
    )
