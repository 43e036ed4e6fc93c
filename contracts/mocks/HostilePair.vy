# pragma version 0.4.3
"""
@title Pair that keeps what it is paid and calls whom it was told to
@license MIT
@author rebalancer
@notice It claims any reserves, and its `swap` makes a call instead of
        paying.
@custom:security For tests only: anybody can set it up.
"""


reserve0: uint112
reserve1: uint112
target: address
data: Bytes[2_048]


# @dev Whether the call of the last `swap` succeeded.
succeeded: public(bool)


# @dev What the last `swap` was called with.
last_caller: public(address)
last_to: public(address)
last_data_length: public(uint256)


@external
def plot(reserve0: uint112, reserve1: uint112, target: address, data: Bytes[2_048]):
    """
    @dev Sets what the pair claims to hold and the call it makes.
    @param reserve0 The reserve of `token0` it claims.
    @param reserve1 The reserve of `token1` it claims.
    @param target The address to call, or zero for none.
    @param data The calldata.
    """
    self.reserve0 = reserve0
    self.reserve1 = reserve1
    self.target = target
    self.data = data


@external
@view
def getReserves() -> (uint112, uint112, uint32):
    """
    @dev The reserves it claims.
    @return (uint112, uint112, uint32) The reserves, and no timestamp.
    """
    return self.reserve0, self.reserve1, 0


@external
def swap(amount0_out: uint256, amount1_out: uint256, to: address, data: Bytes[2_048]):
    """
    @dev Pays nothing and makes the call.
    @param amount0_out The amount of `token0` it was asked for.
    @param amount1_out The amount of `token1` it was asked for.
    @param to The address it was asked to pay.
    @param data The callback data it was given.
    """
    self.last_caller = msg.sender
    self.last_to = to
    self.last_data_length = len(data)
    if self.target != empty(address):
        self.succeeded = raw_call(self.target, self.data, revert_on_failure=False)
