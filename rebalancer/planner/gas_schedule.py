"""What transactions use of gas under each fork's rules: the figures, in one place.

A token that is no plain ERC-20 has its own beside its address in networks.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from rebalancer.model import Circumstances, GasSchedule

__all__ = ["DEFAULT_FORK", "FORKS", "PRAGUE", "GasSchedule", "schedule_in"]

#: contracts/Executor.vy on official Uniswap V2 pair bytecode with plain ERC-20s under the Prague
#: rules, by tests/contracts/gas_snapshot.json: 156,162 for two swaps, 61,740 for each further one
#: of the same token into another, 10,711 less for a hop that the one before pays. A plan that is
#: one route of up to three hops goes another way, and uses 2,100 to 2,450 less than this says.
#: ``per_token`` is how much more a swap into a token uses that no leg touched before, and
#: ``per_approval`` a transaction that approves from zero: measurements of the official pair with
#: plain ERC-20s, taken over and not repeated here.
#: Measured with the same contracts: adding 117,589, redeeming 124,251, in one batch with a swap of
#: other pools 2,000 more or less; in the swap's own pool 33,000 less, as for a second swap there;
#: wrapping and unwrapping 54,172 and 60,332 alone, 25,089 and 32,809 beside a swap. On Anvil 502
#: random plans used 0.8 % less than this in the median, nine of ten from 4 % less to 3 % more.
PRAGUE: Final = GasSchedule(
    name="prague",
    base=25_388,
    per_swap=54_437,
    per_token=7_300,
    per_approval=46_162,
    chained_saving=10_711,
    per_add=77_601,
    per_remove=84_263,
    per_wrap=20_000,
    per_unwrap=27_000,
    same_pool_saving=33_000,
    first_balance=17_100,
    protocol_fee=25_000,
)

#: By the name of the fork whose rules a chain follows, as networks.yaml gives it. The executor
#: needs Cancun. None of the later ones prices anew what a batch does: Prague raised the price of
#: calldata for transactions that do little else (EIP-7623), Osaka that of modexp (EIP-7883), and it
#: caps a transaction's gas (EIP-7825), which is no price. tests/fork/test_gas_planned.py measures
#: that the three use the same to the unit.
FORKS: Final[Mapping[str, GasSchedule]] = MappingProxyType(
    {
        "cancun": replace(PRAGUE, name="cancun"),
        "prague": PRAGUE,
        "osaka": replace(PRAGUE, name="osaka"),
    }
)

#: Whose rules a chain follows that names no fork.
DEFAULT_FORK: Final = PRAGUE.name


def schedule_in(circumstances: Circumstances) -> GasSchedule:
    """The figures that gas is planned with: those that are named there, corrected."""
    schedule = circumstances.gas or PRAGUE
    correction = circumstances.gas_correction
    return schedule if correction is None else schedule.corrected(correction)
