"""The problem that a certificate has to be about, stated anew from the plan's own inputs.

A certificate proves how good a plan is for the problem that it states. Whether that is the
portfolio's problem is another question, and the solver's side cannot answer it: what it forgets it
forgets in both. So every number is worked out here a second time, without the solver's bridge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rebalancer.model import PPM, Leg, PairState, Target, Token, WrapLeg, mul_div_nearest
from rebalancer.planner.decision import asked
from rebalancer.planner.explain import posed
from rebalancer.planner.exposure import exposures
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.metric import metric_of
from rebalancer.planner.problem import Problem
from rebalancer.planner.tally import liquid, share, supply, worth

#: Of a bucket's members drift together costs all, drift apart this share of it.
_APART_PPM = 1_000
#: A withdrawal alone may buy more than it needs by this part and so many units, for roundings.
_MORE_PART, _MORE_UNITS = 10_000, 10_000


def differences(legs: Sequence[Leg], inputs: Inputs, claimed: Mapping[str, Any]) -> tuple[str, ...]:
    """What ``claimed``, the statement of a certificate, has otherwise than the inputs; in words.

    How much of the ether above a gas reserve is left for the plan's own gas is the planner's
    choice, as far as that is there and the plan's ``legs`` wrap no more than the rest.
    """
    problem = posed(inputs)
    if problem.purse is not None and (free := _free_wei(problem, claimed)) is not None:
        wrapped = sum(leg.amount for leg in legs if isinstance(leg, WrapLeg))
        if wrapped <= free <= inputs.snapshot.surplus_wei:
            problem = posed(inputs, inputs.snapshot.surplus_wei - free)
    raising = problem.owed is not None and asked(problem, inputs.last_rebalance_ts).only_raise
    names = {a.token.address.lower(): a.token.symbol for a in inputs.snapshot.balances}
    names |= {pair.address.lower(): pair.name for pair in inputs.snapshot.pairs}
    return tuple(_differ(claimed, _Restated(problem, raising).statement(), names))


def _free_wei(problem: Problem, claimed: Mapping[str, Any]) -> int | None:
    """How much ether is taken for wrapped in a statement; None where the token is not in it."""
    purse = problem.purse
    key = purse.wrapped.address.lower() if purse is not None else ""
    asset = next((a for a in claimed["assets"] if a["key"] == key), None)
    if purse is None or asset is None:
        return None
    read = purse.read.balance(purse.wrapped) - purse.top_up_wei - purse.kept
    return int(asset["held"] - asset["owed"] - read)


class _Restated:
    """The statement of one problem as plain data, piece by piece."""

    def __init__(self, problem: Problem, only_raise: bool) -> None:
        self.metric, seen = metric_of(problem), exposures(problem)
        problem = problem if seen is None else seen.problem
        self.problem, self.snapshot, self.policy = problem, problem.snapshot, problem.policy
        self.only_raise = only_raise
        self.nav_e8 = problem.valuation.nav_e8
        self.tokens = {a.token.address.lower(): a.token for a in self.snapshot.balances}
        self.pairs = {pair.name: pair for pair in self.snapshot.pairs}
        self.pools = [pair for pair in self.snapshot.pairs if self._usable(pair)]
        lps = [t for t in problem.targets if self.problem.token(t.position) is None]
        keep = only_raise or not self.pools
        self.stakes = [
            t for t in lps if not (keep or t.kept) and self.pairs[t.position] in self.pools
        ]

    def statement(self) -> dict[str, Any]:
        """As the canonical JSON of ``optimal.statement.Statement`` has it, in order of keys."""
        policy, schedule = self.policy, self.problem.gas_schedule
        targets = {
            token.address.lower(): target
            for target in self.problem.targets
            if (token := self.problem.token(target.position)) is not None
        }
        sides = {t.address.lower() for pair in self.pools for t in _sides(pair)}
        assets = sorted({*targets, *sides})
        sold = None
        if policy.max_turnover_ppm is not None:
            sold = self.nav_e8 * policy.max_turnover_ppm // PPM
            sold = max(sold - self.problem.circumstances.turnover_e8 - len(assets), 0)
        return {
            "nav_e8": self.nav_e8 - self.problem.owed_e8,
            "kappa_ppm": policy.drift_aversion_ppm,
            "assets": [self._asset(self.tokens[key], targets.get(key)) for key in assets],
            "pools": sorted(map(self._pool, self.pools), key=lambda pool: pool["key"]),
            "stakes": sorted(map(self._stake, self.stakes), key=lambda stake: stake["key"]),
            "factors": self._factors(),
            "base_e8": self._gas_e8(schedule.base),
            "chained_saving_e8": self._gas_e8(schedule.chained_saving),
            "reserve_ppm": policy.slippage_reserve_ppm,
            "max_leg_e8": policy.max_trade_e8,
            "max_sold_e8": sold,
        }

    def _usable(self, pair: PairState) -> bool:
        """Whether a plan may trade in a pool: full, read, priced, let, and near the oracle."""
        snapshot, tokens = self.snapshot, _sides(pair)
        prices = {p.token: p for p in snapshot.prices if p.numerator > 0 and p.denominator > 0}
        addresses = (*(token.address for token in tokens), pair.address)
        if any(snapshot.held_out_reason(address) is not None for address in addresses):
            return False
        if not (pair.reserve0 and pair.reserve1 and self.policy.max_impact_ppm):
            return False
        if not all(t in prices and t.address.lower() in self.tokens for t in tokens):
            return False
        first, second = (prices[token] for token in tokens)
        side0 = pair.reserve0 * first.numerator * second.denominator
        side1 = pair.reserve1 * second.numerator * first.denominator
        gap = abs(side0 - side1) * PPM
        return gap <= self.policy.max_off_oracle_ppm * min(side0, side1)

    def _gas_e8(self, units: int) -> int:
        native, price = self.snapshot.native, self.snapshot.block.base_fee_wei
        wei = units * (price + self.snapshot.priority_fee_wei)
        return -(-wei * native.numerator // native.denominator)

    def _asset(self, token: Token, target: Target | None) -> dict[str, Any]:
        problem, price = self.problem, self.snapshot.price(token)
        held = self.snapshot.balance(token)
        owed = problem.owed.raw if problem.owed is not None and problem.owed.token == token else 0
        least = self.policy.min_trade_e8 if problem.owed is None and target is not None else 0
        most = None
        if self.only_raise and target is not None:
            most = held + (owed + owed // _MORE_PART + _MORE_UNITS if owed else 0)
        return {
            "key": token.address.lower(),
            "held": held,
            "price_numerator": price.numerator,
            "price_denominator": price.denominator,
            "target_ppm": self._target_ppm(target, held, price.value_down(held)),
            "touch_e8": self._gas_e8(problem.gas_schedule.touch(token)),
            "approval_e8": self._gas_e8(problem.gas_schedule.approval(token)),
            "drift_weight_ppm": self._drift_weight_ppm(target),
            "tax": [] if target is None else self._tax(token),
            "watched": 0,
            "owed": owed,
            "least_sold": -(-least * price.denominator // price.numerator),
            "most": most,
        }

    def _tax(self, token: Token) -> list[dict[str, int]]:
        """Tiers of a schedule; or one, of the part of the price that is gain."""
        units, whole = 10**token.decimals, 10**18
        starts = {}
        for symbol, above, rate in self.policy.tax_tiers:
            if symbol == token.symbol:
                starts[above * units // whole] = rate
        if starts:
            return [{"above_raw": raw, "rate_ppm": starts[raw]} for raw in sorted(starts)]
        known = dict(self.policy.tax_costs) | dict(self.problem.circumstances.costs)
        price = self.snapshot.price(token)
        now = price.numerator * units * whole
        cost = known.get(token.symbol, now) * price.denominator * 10**8
        rate = -(-self.policy.tax_rate_ppm * (now - cost) // now)
        return [{"above_raw": 0, "rate_ppm": rate}] if rate > 0 else []

    def _target_ppm(self, target: Target | None, held: int, tradable_e8: int) -> int | None:
        """What is wanted beside what cannot be traded, which is more of NAV once a part is owed."""
        if target is None:
            return None
        beside = self._beside_ppm(target, tradable_e8)
        if self.problem.owed is not None:
            beside = min(beside, target.weight_ppm)
            beside = mul_div_nearest(beside, self.nav_e8, self.nav_e8 - self.problem.owed_e8)
        return max(target.weight_ppm - beside, 0)

    def _beside_ppm(self, target: Target, tradable_e8: int) -> int:
        worth_e8 = self.problem.valuation.position(target.position).value_e8
        return mul_div_nearest(worth_e8 - tradable_e8, PPM, self.nav_e8)

    def _pool(self, pair: PairState) -> dict[str, Any]:
        impact, part = self.policy.max_impact_ppm, self.policy.max_pool_share_ppm
        schedule = self.problem.gas_schedule
        if part is not None:
            # Of the reserve a share ``a`` is left after the fee: an impact of a / (1 + a).
            after_fee = part * (PPM - pair.fee_ppm)
            impact = min(impact, max(after_fee * PPM // (PPM * PPM + after_fee), 1))
        return {
            "key": pair.address.lower(),
            "asset0": pair.token0.address.lower(),
            "asset1": pair.token1.address.lower(),
            "reserve0": pair.reserve0,
            "reserve1": pair.reserve1,
            "fee_ppm": pair.fee_ppm,
            "swap_e8": self._gas_e8(schedule.per_swap + schedule.transfers(*_sides(pair))),
            "max_impact_ppm": impact,
        }

    def _stake(self, target: Target) -> dict[str, Any]:
        pair, schedule = self.pairs[target.position], self.problem.gas_schedule
        shares, key = liquid(self.snapshot, pair), pair.address.lower()
        beside = self._beside_ppm(target, worth(self.snapshot, share(pair), shares))
        more = schedule.transfers(*_sides(pair))
        more += schedule.protocol_fee if pair.protocol_fee_on else 0
        counts = pair.protocol_fee_on and pair.k_last > 0
        return {
            "key": key,
            "pool": key,
            "shares": shares,
            "supply": supply(pair),
            "target_ppm": max(target.weight_ppm - beside, 0),
            "burn_e8": self._gas_e8(schedule.per_remove + schedule.per_approval + more),
            "mint_e8": self._gas_e8(schedule.per_add + more),
            "drift_weight_ppm": self._drift_weight_ppm(target),
            "stored": pair.total_supply if counts else 0,
            "k_last": pair.k_last if counts else 0,
        }

    def _drift_weight_ppm(self, target: Target | None) -> int:
        if target is not None and self.metric is not None:
            return self.metric.weights_ppm[target.position]
        return PPM if target is None or target.bucket is None else _APART_PPM

    def _factors(self) -> list[dict[str, Any]]:
        """What drifts as one: a covariance's, or a bucket's members; of those that are traded."""
        if self.metric is not None:
            return [
                {"key": name, "loads": self._loads(loads)} for name, loads in self.metric.factors
            ]
        members: dict[str, list[list[Any]]] = {}
        for target in self.problem.targets:
            token = self.problem.token(target.position)
            address = self.pairs[target.position].address if token is None else token.address
            if target.bucket is not None:
                loads = members.setdefault(target.bucket, [])
                loads += [[address.lower(), PPM]] if token or target in self.stakes else []
        return [{"key": name, "loads": sorted(loads)} for name, loads in sorted(members.items())]

    def _loads(self, loads: Mapping[str, int]) -> list[list[Any]]:
        """Of positions that can be traded, by address."""
        found = {}
        for target in self.problem.targets:
            token = self.problem.token(target.position)
            address = self.pairs[target.position].address if token is None else token.address
            if target.position in loads and (token or target in self.stakes):
                found[address.lower()] = loads[target.position]
        return [[key, found[key]] for key in sorted(found)]


def _sides(pair: PairState) -> tuple[Token, Token]:
    return pair.token0, pair.token1


def _differ(
    claimed: Mapping[str, Any], restated: Mapping[str, Any], names: Mapping[str, str], of: str = ""
) -> Iterator[str]:
    """Each number that is another one, named by its key and whose it is."""
    for key, here in restated.items():
        if key not in claimed and not here:
            continue  # fields that were added later are not written where they say nothing
        there = claimed.get(key)
        if isinstance(here, list) and isinstance(there, list) and _keyed([*here, *there]):
            yield from _differ_each(key, there, here, names)
        elif there != here:
            yield f"{key}{of} {there}, by the inputs {here}"


def _keyed(found: Sequence[Any]) -> bool:
    """Whether these are things that have names: loads and tiers have none."""
    return all(isinstance(x, dict) and "key" in x for x in found)


def _differ_each(
    kind: str, claimed: Sequence[Any], restated: Sequence[Any], names: Mapping[str, str]
) -> Iterator[str]:
    """The same for a list: what is missing of it, what should not be there, and what is other."""
    there, here = ({x["key"]: x for x in found} for found in (claimed, restated))
    if len(there) != len(claimed):
        yield f"something is in its {kind} twice"
    for key in [*here, *(key for key in there if key not in here)]:
        name = names.get(key, key)
        if key not in there:
            yield f"{name} is missing in its {kind}"
        elif key not in here:
            yield f"{name} should not be in its {kind}"
        else:
            yield from _differ(there[key], here[key], names, f" of {name}")
