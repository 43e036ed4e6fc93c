"""What the bundler's unit tests share: a node made of answers, and a plan made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rebalancer.model import Amount, Costs, Plan, SwapLeg, Token

WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
USDC = Token("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6)
WETH = Token("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "WETH", 18)
WBTC = Token("0x2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599", "WBTC", 8)
USDC_WETH = "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc"
WBTC_WETH = "0xBb2b8038a1640196FbE3e38816F3e67Cba72D940"

Answer = Any | Callable[..., Any] | Exception


class FakeRpc:
    """Answers from a dictionary: a value, a function of the parameters, or an error to raise."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def call(self, method: str, *params: Any) -> Any:
        self.calls.append((method, params))
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer(*params) if callable(answer) else answer

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return [self.call(method, *params) for method, params in calls]

    def count(self, method: str) -> int:
        return sum(called == method for called, _ in self.calls)


def leg(
    pair: str, token_in: Token, token_out: Token, paid: int, bought: int, chained: bool = False
) -> SwapLeg:
    return SwapLeg(
        pair, "uniswap_v2", token_in, token_out, 3_000, paid, bought, bought * 99 // 100, chained
    )


def plan_of(*legs: SwapLeg, net: Sequence[Amount] | None = None) -> Plan:
    """A plan on block 100; ``net`` as the legs have it unless given."""
    totals: dict[Token, int] = {}
    for one in legs:
        totals[one.token_in] = totals.get(one.token_in, 0) - one.amount_in
        totals[one.token_out] = totals.get(one.token_out, 0) + one.amount_out
    own = tuple(Amount(token, raw) for token, raw in totals.items() if raw)
    return Plan(
        parent="a" * 64,
        policy="b" * 64,
        chain_id=1,
        block_number=100,
        block_hash="0x" + "22" * 32,
        wallet=WALLET,
        numeraire="USD",
        legs=legs,
        net=own if net is None else tuple(net),
        positions=(),
        nav_before_e8=0,
        nav_after_e8=0,
        costs=Costs(0, 0, 0, 0, 0, 0, 0, 0),
        benefit_e8=0,
        slippage_ppm=10_000,
        max_fee_wei=100 * 10**9,
        deadline_ts=2_000,
        max_age_blocks=3,
    )


#: 3,000 USDC for 1 WETH, and that on for 0.05 WBTC.
TWO_HOPS = plan_of(
    leg(USDC_WETH, USDC, WETH, 3_000_000_000, 10**18),
    leg(WBTC_WETH, WETH, WBTC, 10**18, 5_000_000, chained=True),
)
