"""The independent checker of a certificate: weak duality, in a few lines, without the solver.

For any dual prices ``s`` of the assets and ``u`` of the factors, no plan is worth more than what
everybody could earn alone at these prices: the holdings by trading at ``s``, each pool by its best
swap, each stake by its best move, all less the gas that they cannot avoid. So a certificate needs
no trust: it names the prices, and this module recomputes the bound, and by an exact replay of the
legs what the plan is worth. It reads the canonical JSON and imports nothing of the solver.

Amounts are replayed in integers; the bound is worked out in decimals of 50 digits and rounded up.
"""

from __future__ import annotations

import hashlib
import json
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Any

from rebalancer.errors import PlanError
from rebalancer.planner.optimal.duality import PRICE_UNIT, bound
from rebalancer.planner.optimal.exact import ZERO, worth

_DIGITS = 50


def verify(text: str) -> dict[str, int]:
    """What the certificate claims, recomputed: hold, realised, upper bound and gap, in 1e-8.

    Raises PlanError for anything else than the canonical JSON of a certificate under its seal whose
    legs can be executed and whose four numbers are exactly the recomputed ones. The seal finds
    damage; a forger can set a new one, but no false number passes.
    """
    try:
        claim = json.loads(text, parse_float=_refuse, parse_constant=_refuse)
        found = recompute(claim)
        told = {name: claim[name] for name in (*found, "seal")}
    except (AttributeError, ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as e:
        raise PlanError(f"this is no certificate: {type(e).__name__}") from None
    if _canonical(claim) != text:
        raise PlanError("the certificate is not in canonical form")
    if claim["seal"] != seal(claim):
        raise PlanError("the certificate was changed after it was sealed")
    for name, value in found.items():
        if told[name] != value or isinstance(told[name], bool):
            raise PlanError(f"the certificate says {name} = {told[name]}, it is {value}")
    if found["realised_e8"] < found["hold_e8"]:
        raise PlanError("the plan is worth less than doing nothing")
    return found


def seal(claim: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of everything but the seal itself, as 64 hex digits."""
    rest = {name: value for name, value in claim.items() if name != "seal"}
    return hashlib.sha256(_canonical(rest).encode()).hexdigest()


def _canonical(claim: dict[str, Any]) -> str:
    return json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _refuse(number: str) -> None:
    raise ValueError(f"{number} is no integer")


def recompute(claim: dict[str, Any]) -> dict[str, int]:
    """The four numbers of a certificate, from its statement, its legs and its tree of prices."""
    made = dict(claim["statement"])
    with localcontext() as context:
        context.prec = _DIGITS
        hold, realised = worth(made, []), worth(made, claim["legs"])
        if not all(half in (0, 1, 2) for half in claim["links"]) or claim["toll"] < 0:
            raise ValueError("links")
        toll = claim["toll"] * PRICE_UNIT if made["max_sold_e8"] is not None else ZERO
        made |= {"toll": toll, "links": claim["links"]}
        upper = made["nav_e8"] * _best(made, claim["tree"], frozenset(), frozenset())
        upper = max(hold, upper + toll * (made["max_sold_e8"] or 0))
        numbers = {
            "hold_e8": int(hold.to_integral_value(ROUND_FLOOR)),
            "realised_e8": int(realised.to_integral_value(ROUND_FLOOR)),
            "upper_e8": int(upper.to_integral_value(ROUND_CEILING)),
        }
    return numbers | {"gap_e8": numbers["upper_e8"] - numbers["realised_e8"]}


def _best(made: dict[str, Any], node: Any, used: frozenset[str], unused: frozenset[str]) -> Decimal:
    """Over NAV, the bound on all plans that pay for ``used`` items and do without ``unused``."""
    if "item" not in node:
        return bound(made, node, used, unused)
    item = node["item"]
    return max(
        _best(made, node["used"], used | {item}, unused),
        _best(made, node["unused"], used, unused | {item}),
    )
