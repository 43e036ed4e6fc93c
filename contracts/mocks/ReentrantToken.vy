# pragma version 0.4.3
"""
@title Token that calls whom it was told to while it is transferred
@license MIT
@author rebalancer
@notice After every movement by `transferFrom`, and before it returns,
        it makes the calls that `plot` has set, once.
@custom:security For tests only: anybody can mint and plot.
"""


# @dev A call made while tokens move.
struct Call:
    target: address
    data: Bytes[2_048]


decimals: public(constant(uint8)) = 18


balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


# @dev The calls to make at the next `transferFrom`.
plotted: DynArray[Call, 4]


# @dev How many of the calls made so far have succeeded.
succeeded: public(uint256)


# @dev How many of the calls made so far have reverted.
failed: public(uint256)


@external
def plot(calls: DynArray[Call, 4]):
    """
    @dev Sets the calls to make.
    @param calls The calls, in order.
    """
    self.plotted = calls


@external
def mint(to: address, amount: uint256):
    """
    @dev Creates tokens.
    @param to The address that owns them.
    @param amount The amount created.
    """
    self.balanceOf[to] += amount


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @dev Sets an allowance.
    @param spender The address that may spend.
    @param amount The amount it may spend.
    @return bool Always true.
    """
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(to: address, amount: uint256) -> bool:
    """
    @dev Moves tokens of the caller.
    @param to The address that receives them.
    @param amount The amount moved.
    @return bool Always true.
    """
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    """
    @dev Moves tokens of `owner` by allowance and makes the calls.
    @param owner The address that gave the allowance.
    @param to The address that receives them.
    @param amount The amount moved.
    @return bool Always true.
    """
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, to, amount)
    calls: DynArray[Call, 4] = self.plotted
    self.plotted = []
    for call: Call in calls:
        if raw_call(call.target, call.data, revert_on_failure=False):
            self.succeeded += 1
        else:
            self.failed += 1
    return True


@internal
def _move(owner: address, to: address, amount: uint256):
    """
    @dev Moves tokens.
    @param owner The address that loses them.
    @param to The address that receives them.
    @param amount The amount moved.
    """
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
