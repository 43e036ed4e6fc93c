# pragma version 0.4.3
"""
@title Constant-product pair with a fee of its own
@license MIT
@author rebalancer
@notice The swap of Uniswap V2's pair with any fee, without shares,
        oracle and callbacks. The product of the reserves, less the fee,
        must not fall.
@custom:security For tests only: whoever funds it gives the tokens away.
"""


from ethereum.ercs import IERC20


PPM: constant(uint256) = 1_000_000


token0: public(immutable(address))
token1: public(immutable(address))
fee_ppm: public(immutable(uint256))


reserve0: uint112
reserve1: uint112


@deploy
def __init__(token_a: address, token_b: address, fee: uint256):
    """
    @dev Sorts the tokens by address, as pairs do.
    @param token_a One token.
    @param token_b The other token.
    @param fee The fee in parts per million of the amount in.
    """
    token0 = token_a if convert(token_a, uint160) < convert(token_b, uint160) else token_b
    token1 = token_b if token0 == token_a else token_a
    fee_ppm = fee


@external
def sync():
    """
    @dev Books the balances as reserves.
    """
    self._book()


@external
@view
def getReserves() -> (uint112, uint112, uint32):
    """
    @dev The booked reserves.
    @return (uint112, uint112, uint32) The reserves, and no timestamp.
    """
    return self.reserve0, self.reserve1, 0


@external
def swap(amount0_out: uint256, amount1_out: uint256, to: address, data: Bytes[32]):
    """
    @dev Pays, then demands that the product has not fallen.
    @param amount0_out The amount of `token0` to pay.
    @param amount1_out The amount of `token1` to pay.
    @param to The address that is paid.
    @param data Must be empty.
    """
    assert len(data) == 0, "fee_pair: no callbacks"
    assert amount0_out != 0 or amount1_out != 0, "fee_pair: nothing asked for"
    reserve0: uint256 = convert(self.reserve0, uint256)
    reserve1: uint256 = convert(self.reserve1, uint256)
    if amount0_out != 0:
        extcall IERC20(token0).transfer(to, amount0_out, default_return_value=True)
    if amount1_out != 0:
        extcall IERC20(token1).transfer(to, amount1_out, default_return_value=True)
    balance0: uint256 = staticcall IERC20(token0).balanceOf(self)
    balance1: uint256 = staticcall IERC20(token1).balanceOf(self)
    fee0: uint256 = (balance0 - (reserve0 - amount0_out)) * fee_ppm
    fee1: uint256 = (balance1 - (reserve1 - amount1_out)) * fee_ppm
    assert (balance0 * PPM - fee0) * (balance1 * PPM - fee1) >= (
        reserve0 * reserve1 * PPM ** 2
    ), "fee_pair: K"
    self._book()


@internal
def _book():
    """
    @dev Books the balances as reserves.
    """
    self.reserve0 = convert(staticcall IERC20(token0).balanceOf(self), uint112)
    self.reserve1 = convert(staticcall IERC20(token1).balanceOf(self), uint112)
