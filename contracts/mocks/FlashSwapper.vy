# pragma version 0.4.3
"""
@title Trader that takes first and pays in the callback
@license MIT
@author rebalancer
@notice Asks a Uniswap V2 pair for tokens by a flash swap and pays it in
        `uniswapV2Call` from what this contract owns.
@custom:security For tests only: anybody can make it trade.
"""


from ethereum.ercs import IERC20


interface Pair:
    def swap(amount0_out: uint256, amount1_out: uint256, to: address, data: Bytes[64]): nonpayable


@external
def trade(
    pair: address, amount0_out: uint256, amount1_out: uint256, token_in: address, amount_in: uint256
):
    """
    @dev Makes the flash swap.
    @param pair The pair.
    @param amount0_out The amount of its `token0` to take.
    @param amount1_out The amount of its `token1` to take.
    @param token_in The token to pay.
    @param amount_in The amount to pay.
    """
    extcall Pair(pair).swap(amount0_out, amount1_out, self, abi_encode(token_in, amount_in))


@external
def uniswapV2Call(sender: address, amount0: uint256, amount1: uint256, data: Bytes[64]):
    """
    @dev Pays the pair, which has paid already.
    @param sender This contract.
    @param amount0 The amount of `token0` that was taken.
    @param amount1 The amount of `token1` that was taken.
    @param data The token and the amount to pay.
    """
    token_in: address = empty(address)
    amount_in: uint256 = 0
    token_in, amount_in = abi_decode(data, (address, uint256))
    extcall IERC20(token_in).transfer(msg.sender, amount_in)
