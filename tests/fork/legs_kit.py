"""Plans of every kind of leg, made by hand on the head, exact if nothing else trades."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bundler_kit import FEE_PPM, GWEI, balances, make_plan

from rebalancer.amm.liquidity import apply_burn, apply_mint
from rebalancer.amm.swap import apply_swap
from rebalancer.config.networks import Network, sort_tokens
from rebalancer.devchain.accounts import MARKET_MAKER, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block, view
from rebalancer.devchain.mainnet import USDC, USDT, WETH
from rebalancer.evm.rpc import Rpc
from rebalancer.ledger.store import Ledger
from rebalancer.model import (
    E8,
    PPM,
    AddLeg,
    Amount,
    BlockRef,
    Leg,
    LpHolding,
    PairState,
    Plan,
    Price,
    Rebalance,
    RemoveLeg,
    Snapshot,
    SwapLeg,
    Token,
    UnwrapLeg,
    Valuation,
    WrapLeg,
    digest,
    forwards,
    mul_div_down,
    share_token,
)

L = TypeVar("L", SwapLeg, AddLeg, RemoveLeg, WrapLeg, UnwrapLeg)
ETH = Token("0x" + "00" * 20, "ETH", 18)


@dataclass
class Draft:
    """Legs one after the other; each knows what those before it did to the pairs."""

    rpc: Rpc
    network: Network
    wallet: str = TREASURY
    slippage_ppm: int = 5_000
    legs: list[Leg] = field(default_factory=list)
    pairs: dict[str, PairState] = field(default_factory=dict)

    def pair(self, a: Token, b: Token, amm: str = "uniswap_v2") -> PairState:
        address = self.network.amms[amm].pair_address(a, b)
        return self.pairs.get(address) or read_whole_pair(self.rpc, self.network, a, b, amm)

    def swap(self, token_in: Token, token_out: Token, amount: int | None = None) -> SwapLeg:
        """``amount`` None: all that the leg before pays, straight into this pair."""
        pair, chained = self.pair(token_in, token_out), amount is None
        amount_in = self.legs[-1].pays[0].raw if amount is None else amount
        self.pairs[pair.address], out = apply_swap(pair, token_in, amount_in)
        least = self._least(out)
        return self._done(
            SwapLeg(
                pair.address,
                pair.amm,
                token_in,
                token_out,
                FEE_PPM,
                amount_in,
                out,
                least,
                chained,
            )
        )

    def remove(self, a: Token, b: Token, shares: int, amm: str = "uniswap_v2") -> RemoveLeg:
        pair = self.pair(a, b, amm)
        self.pairs[pair.address], out0, out1 = apply_burn(pair, shares)
        least = self._least(out0), self._least(out1)
        place = (pair.address, pair.amm, pair.token0, pair.token1)
        return self._done(RemoveLeg(*place, shares, out0, out1, *least))

    def add(self, a: Token, b: Token, raw: int, amm: str = "uniswap_v2") -> AddLeg:
        """``raw`` of the first token named, or a unit less, and of the other what it asks for."""
        pair = self.pair(a, b, amm)
        reserve_a, reserve_b = pair.reserves(a)
        other = raw * reserve_b // reserve_a
        amount0 = raw if a == pair.token0 else other
        # All of token0, and of token1 what the contract makes of it: both are taken whole.
        both = amount0, amount0 * pair.reserve1 // pair.reserve0
        self.pairs[pair.address], shares = apply_mint(pair, *both)
        place = (pair.address, pair.amm, pair.token0, pair.token1)
        return self._done(AddLeg(*place, *both, shares, self._least(shares)))

    def wrap(self, wei: int) -> WrapLeg:
        return self._done(WrapLeg(ETH, WETH, wei))

    def unwrap(self, wei: int) -> UnwrapLeg:
        return self._done(UnwrapLeg(ETH, WETH, wei))

    def plan(self, **changes: Any) -> Plan:
        empty = make_plan(self.rpc, self.network, [], wallet=self.wallet)
        legs: Any = tuple(self.legs)
        net = tuple(Amount(t, raw) for t, raw in net_of(self.legs).items() if raw and t != ETH)
        return replace(empty, legs=legs, net=net, slippage_ppm=self.slippage_ppm, **changes)

    def _least(self, raw: int) -> int:
        return mul_div_down(raw, PPM - self.slippage_ppm, PPM)

    def _done(self, leg: L) -> L:
        self.legs.append(leg)
        return leg


def net_of(legs: list[Leg]) -> dict[Token, int]:
    """What the legs do to each balance of the wallet, ether too."""
    net: dict[Token, int] = {}
    for index, leg in enumerate(legs):
        for taken in leg.takes:
            net[taken.token] = net.get(taken.token, 0) - taken.raw
        for paid in () if forwards(legs, index) else leg.pays:
            net[paid.token] = net.get(paid.token, 0) + paid.raw
    return net


def read_whole_pair(
    rpc: Rpc, network: Network, a: Token, b: Token, amm: str = "uniswap_v2"
) -> PairState:
    """A pair with its supply and what the protocol takes of it."""
    place = network.amms[amm].pair_address(a, b)
    reserve0, reserve1, _ = view(rpc, place, "getReserves()", ["uint112", "uint112", "uint32"])
    (supply,) = view(rpc, place, "totalSupply()", ["uint256"])
    (k_last,) = view(rpc, place, "kLast()", ["uint256"])
    (fee_to,) = view(rpc, network.amms[amm].factory, "feeTo()", ["address"])
    fee_on = int(fee_to, 16) != 0
    tokens = sort_tokens(a, b)
    return PairState(place, amm, *tokens, FEE_PPM, reserve0, reserve1, supply, k_last, fee_on)


def share_of(network: Network, a: Token, b: Token, amm: str = "uniswap_v2") -> Token:
    return share_token(network.amms[amm].pair_address(a, b), amm, *sort_tokens(a, b))


def give_shares(rpc: Rpc, share: Token, raw: int, wallet: str = TREASURY) -> None:
    """Shares from the market maker, who owns nearly all of them."""
    call = call_of(share.address, "transfer(address,uint256)", wallet, raw)
    mine_block(rpc, MARKET_MAKER, [call])


def holdings(rpc: Rpc, tokens: list[Token], wallet: str = TREASURY) -> dict[Token, int]:
    """Balances of tokens and of ether."""
    found = balances(rpc, [token for token in tokens if token != ETH], wallet)
    return {**found, ETH: int(rpc.call("eth_getBalance", wallet, "latest"), 16)}


def decided(rpc: Rpc, ledger: Ledger, draft: Draft, **changes: Any) -> Plan:
    """A recorded decision to do the draft, at round prices."""
    plan, wallet = draft.plan(**changes), draft.wallet
    head = rpc.call("eth_getBlockByNumber", hex(plan.block_number), False)
    stamp, base_fee_wei = (int(head[key], 16) for key in ("timestamp", "baseFeePerGas"))
    prices = tuple(
        Price(token, dollars * E8, 10**token.decimals, "by hand", stamp)
        for token, dollars in ((WETH, 3_000), (USDC, 1), (USDT, 1))
    )
    snapshot = Snapshot(
        block=BlockRef(1, plan.block_number, plan.block_hash, stamp, base_fee_wei),
        wallet=wallet,
        numeraire="USD",
        native=replace(prices[0], token=ETH),
        native_wei=10**18,
        balances=tuple(Amount(price.token, 0) for price in prices),
        holdings=(LpHolding(share_of(draft.network, USDC, WETH).address, 1, None),),
        pairs=(),
        prices=prices,
        priority_fee_wei=GWEI,
    )
    place = (plan.block_number, plan.block_hash)
    valuation = Valuation(digest(snapshot), *place, "USD", 10**6 * E8, (), (), 3_000 * E8)
    plan = replace(plan, parent=digest(valuation))
    decision = Rebalance(plan.parent, *place, (), (), plan)
    ledger.record_decision("treasury", "execute", snapshot, valuation, decision)
    return plan
