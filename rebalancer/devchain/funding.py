"""A treasury on a chain that others built: a real block's state, or a fork of the real mainnet."""

from __future__ import annotations

from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import DEV_ACCOUNTS, MARKET_MAKER, TREASURY
from rebalancer.devchain.calls import add_liquidity, approve_router
from rebalancer.devchain.cheats import Call, has_code, mapping_slot, mine_block, view, word
from rebalancer.evm.rpc import Rpc
from rebalancer.model import E8, Amount, Token

#: Worth of what the treasury is given, in 1e-8 USD; a token that is not there is left out.
_TOKENS_E8 = {
    m.WETH: 400_000 * E8,
    m.WBTC: 200_000 * E8,
    m.USDC: 200_000 * E8,
    m.USDT: 200_000 * E8,
}
_LP_E8 = {(m.USDC, m.WETH): 200_000 * E8, (m.USDT, m.WETH): 20_000 * E8}
_LP_BALANCES_SLOT = 1


def take_over_accounts(rpc: Rpc) -> None:
    """Make plain accounts of the well-known ones.

    On mainnet thieves have delegated them to contracts that forward what arrives (EIP-7702).
    """
    rpc.batch([("anvil_setCode", (address, "0x")) for address in DEV_ACCOUNTS])


def deal(rpc: Rpc, amount: Amount, to: str) -> None:
    """Set the balance of ``to``; raises RpcError where the node cannot find where it is stored.

    Writes state at the head; the next block holds it.
    """
    rpc.call("anvil_dealERC20", to, amount.token.address, hex(amount.raw))


def give_tokens(rpc: Rpc) -> None:
    """Set the treasury's token balances."""
    prices = pool_prices_e8(rpc)
    for token, worth_e8 in _TOKENS_E8.items():
        if token in prices:
            deal(rpc, _amount_worth(token, worth_e8, prices), TREASURY)


def give_lp_shares(rpc: Rpc) -> None:
    """Make the treasury the owner of shares that exist already, so that no reserve changes.

    For a state whose total supplies were made up. The market maker is given what the treasury does
    not get, so that the balances add up to the supply.
    """
    for (stable, other), worth_e8 in _LP_E8.items():
        reserves = _reserves(rpc, stable, other)
        if reserves is None:
            continue
        pair = m.lp_token(stable, other).address
        (supply,) = view(rpc, pair, "totalSupply()", ("uint256",))
        pool_e8 = 2 * reserves[0] * E8 // 10**stable.decimals
        shares = min(supply, supply * worth_e8 // pool_e8)
        for owner, raw in ((TREASURY, shares), (MARKET_MAKER, supply - shares)):
            slot = mapping_slot(owner, word(_LP_BALANCES_SLOT))
            rpc.call("anvil_setStorageAt", pair, slot, word(raw))


def enter_liquidity(rpc: Rpc) -> None:
    """Let the treasury enter its LP positions through Router02, all in the next block.

    The tokens for it are dealt on top of what the treasury owns.
    """
    prices = pool_prices_e8(rpc)
    calls: list[Call] = []
    for (stable, other), worth_e8 in _LP_E8.items():
        reserves = _reserves(rpc, stable, other)
        if reserves is None:
            continue
        a = _amount_worth(stable, worth_e8 // 2, prices)
        b = Amount(other, a.raw * reserves[1] // reserves[0])  # as Router02 quotes it
        for amount in (a, b):
            token = amount.token
            (owned,) = view(rpc, token.address, "balanceOf(address)", ("uint256",), TREASURY)
            deal(rpc, Amount(token, owned + amount.raw), TREASURY)
            # Zero first: USDT refuses to change an allowance that is standing.
            calls += [approve_router(token, 0), approve_router(token, amount.raw)]
        calls.append(add_liquidity(a, b, TREASURY))
    mine_block(rpc, TREASURY, calls)


def pool_prices_e8(rpc: Rpc) -> dict[Token, int]:
    """Prices in 1e-8 USD, rounded down, as the Uniswap V2 pools have them.

    Stablecoins are 1; WETH is what its deepest pool against one of them says, the others what their
    pool against WETH says. A token without a pool is left out.
    """
    prices = {token: E8 for token in m.STABLECOINS if has_code(rpc, token.address)}
    deepest = 0
    for stable in tuple(prices):
        reserves = _reserves(rpc, m.WETH, stable)
        if reserves is not None and reserves[0] > deepest:
            deepest = reserves[0]
            prices[m.WETH] = _price_e8(m.WETH, stable, reserves)
    for token in (m.WBTC, m.UNI, m.LINK):
        reserves = _reserves(rpc, token, m.WETH)
        if reserves is not None and m.WETH in prices:
            prices[token] = _price_e8(token, m.WETH, reserves) * prices[m.WETH] // E8
    return prices


def _price_e8(token: Token, quote: Token, reserves: tuple[int, int]) -> int:
    """A whole ``token`` in 1e-8 of a whole ``quote``."""
    whole, whole_quote = 10**token.decimals, 10**quote.decimals
    return int(reserves[1] * E8 * whole // (reserves[0] * whole_quote))


def _reserves(rpc: Rpc, a: Token, b: Token) -> tuple[int, int] | None:
    """Reserves of ``a`` and ``b`` in their Uniswap V2 pool; None where there is nothing."""
    pair = m.lp_token(a, b).address
    if not has_code(rpc, pair):
        return None
    reserve0, reserve1, _ = view(rpc, pair, "getReserves()", ("uint112", "uint112", "uint32"))
    if reserve0 == 0 or reserve1 == 0:
        return None
    in_order = int(a.address, 16) < int(b.address, 16)
    return (reserve0, reserve1) if in_order else (reserve1, reserve0)


def _amount_worth(token: Token, worth_e8: int, prices_e8: dict[Token, int]) -> Amount:
    return Amount(token, worth_e8 * 10**token.decimals // prices_e8[token])
