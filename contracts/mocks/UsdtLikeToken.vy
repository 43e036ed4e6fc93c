# pragma version 0.4.3
"""
@title Token that returns nothing, and fails by reverting
@license MIT
@author rebalancer
@notice Behaves like Tether USD: `transfer`, `transferFrom` and
        `approve` have no return value, and an allowance can only be
        changed to or from zero.
@custom:security For tests only: anybody can mint.
"""


decimals: public(constant(uint8)) = 6


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
def approve(spender: address, amount: uint256):
    """
    @dev Sets an allowance, which must have been zero or become zero.
    @param spender The address that may spend.
    @param amount The amount it may spend.
    """
    assert amount == 0 or self.allowance[msg.sender][spender] == 0, "usdt_like: not reset"
    self.allowance[msg.sender][spender] = amount


@external
def transfer(to: address, amount: uint256):
    """
    @dev Moves tokens of the caller.
    @param to The address that receives them.
    @param amount The amount moved.
    """
    self._move(msg.sender, to, amount)


@external
def transferFrom(owner: address, to: address, amount: uint256):
    """
    @dev Moves tokens of `owner` by allowance.
    @param owner The address that gave the allowance.
    @param to The address that receives them.
    @param amount The amount moved.
    """
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, to, amount)


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
