"""LP positions: what they hold, what they are worth, and against having held instead."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from rebalancer.model import PPM, PositionValue, Snapshot, Valuation
from rebalancer.planner.market import off_oracle_ppm
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import amount, money, percent

_LEFT = frozenset({"position", "holds"})
#: A pool this far from the oracle is pointed out: ten times what its fee lets it drift.
ALARM_PPM = 30_000


def lp_view(snapshot: Snapshot, valuation: Valuation) -> Table:
    """A row for each LP position; one with a reward or a staked part says so below its name."""
    names = ("position", "holds", "fair", "spot", "held instead", "IL", "fees", "net")
    table = new_table("LP positions (fair price; spot beside it)", *names, left=_LEFT)
    for position in valuation.positions:
        if position.lp is not None:
            table.add_row(*_row(snapshot, valuation, position))
    return table


def alarms(snapshot: Snapshot, valuation: Valuation) -> tuple[str, ...]:
    """Pools of LP positions that stand far off the oracle; empty when all is well."""
    found = []
    for position in valuation.positions:
        if position.lp is None:
            continue
        gap = off_oracle_ppm(snapshot, snapshot.pair(position.lp.pair))
        if gap > ALARM_PPM:
            fair = position.value_e8 - position.lp.reward_value_e8
            apart = position.lp.spot_value_e8 - fair
            found.append(
                f"the pool of {position.name} is {percent(gap)} off the oracle: its spot value is "
                f"{money(apart, valuation.numeraire, signed=True)} {valuation.numeraire} from the "
                "fair value, which is the one that counts"
            )
    return tuple(found)


def _row(
    snapshot: Snapshot, valuation: Valuation, position: PositionValue
) -> tuple[str | Text, ...]:
    lp, numeraire = position.lp, valuation.numeraire
    if lp is None:
        return ()
    pair = snapshot.pair(lp.pair)
    fair_e8 = position.value_e8 - lp.reward_value_e8
    spot: str | Text = money(lp.spot_value_e8, numeraire)
    if off_oracle_ppm(snapshot, pair) > ALARM_PPM:
        spot = Text(str(spot), style="bold red")
    row = (
        "\n".join([position.name, *_farm_lines(snapshot, position, numeraire)]),
        f"{amount(lp.amount0, pair.token0)}\n{amount(lp.amount1, pair.token1)}",
        money(fair_e8, numeraire),
        spot,
    )
    if lp.held_value_e8 is None or lp.il_e8 is None or lp.fees_e8 is None:
        return (*row, "entry unknown", "", "", "")
    changes = (lp.il_e8, lp.fees_e8, lp.il_e8 + lp.fees_e8)
    return (
        *row,
        money(lp.held_value_e8, numeraire),
        *(money(change, numeraire, signed=True) for change in changes),
    )


def _farm_lines(snapshot: Snapshot, position: PositionValue, numeraire: str) -> list[str]:
    lp = position.lp
    holding = next((h for h in snapshot.holdings if lp is not None and h.pair == lp.pair), None)
    if lp is None or holding is None or holding.farm is None:
        return []
    share = lp.staked * PPM // lp.shares if lp.shares else 0
    lines = [f"  staked {percent(share)}"]
    if holding.reward is not None and holding.reward.raw:
        reward = holding.reward
        if reward.token is None:
            lines.append(f"  owed: {reward.raw} units of an unknown token")
        else:
            worth = money(lp.reward_value_e8, numeraire)
            lines.append(f"  owed {amount(reward.raw, reward.token)} ({worth})")
    return lines
