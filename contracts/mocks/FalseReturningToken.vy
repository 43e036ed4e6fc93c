# pragma version 0.4.3
"""
@title Token that returns false instead of reverting
@license MIT
@author rebalancer
@notice A transfer that cannot be made returns false and changes
        nothing.
@custom:security For tests only: anybody can mint.
"""


decimals: public(constant(uint8)) = 18


balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


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
    @return bool Whether they were moved.
    """
    return self._move(msg.sender, to, amount)


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    """
    @dev Moves tokens of `owner` by allowance.
    @param owner The address that gave the allowance.
    @param to The address that receives them.
    @param amount The amount moved.
    @return bool Whether they were moved.
    """
    if self.allowance[owner][msg.sender] < amount:
        return False
    if not self._move(owner, to, amount):
        return False
    self.allowance[owner][msg.sender] -= amount
    return True


@internal
def _move(owner: address, to: address, amount: uint256) -> bool:
    """
    @dev Moves tokens.
    @param owner The address that loses them.
    @param to The address that receives them.
    @param amount The amount moved.
    @return bool Whether they were moved.
    """
    if self.balanceOf[owner] < amount:
        return False
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    return True
