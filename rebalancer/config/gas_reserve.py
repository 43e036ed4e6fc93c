"""The gas reserve of a portfolio against its network."""

from __future__ import annotations

from collections.abc import Mapping

from rebalancer.config.networks import Network
from rebalancer.config.quantities import NATIVE_DECIMALS, Coin
from rebalancer.model import GasReserve, Token


def resolve_reserve(
    coin: Coin | None, network: Network, positions: Mapping[str, Token]
) -> GasReserve | None:
    """The reserve with the token that the rest counts as, which must be one of ``positions``.

    Raises ValueError for another currency, and for a token that cannot wrap it.
    """
    if coin is None:
        return None
    native, wrapped = network.native.symbol, network.wrapped
    if coin.symbol != native:
        raise ValueError(f"gas_reserve is an amount of {native}, not of {coin.symbol}")
    if wrapped not in network.tokens:
        raise ValueError(
            f"{network.name} has no token {wrapped} that wraps {native}; say which one does in "
            "networks.yaml: native: {wrapped: ...}"
        )
    token = network.token(wrapped)
    if token.decimals != NATIVE_DECIMALS:
        raise ValueError(f"{wrapped} has {token.decimals} decimals, so it does not wrap {native}")
    if wrapped not in positions:
        raise ValueError(
            f"with a gas_reserve the rest of the {native} counts as {wrapped}, which is no "
            "position; list it, with a target of 0% if need be"
        )
    return GasReserve(token, coin.wei)
