# pragma version 0.4.3
"""
@title Token that keeps a part of every transfer
@license MIT
@author rebalancer
@notice The recipient gets the amount less `FEE_PPM` parts per million,
        rounded up; the rest is burned.
@custom:security For tests only: anybody can mint.
"""


decimals: public(constant(uint8)) = 18


# @dev One percent.
FEE_PPM: public(constant(uint256)) = 10_000


PPM: constant(uint256) = 1_000_000


balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
def mint(to: address, amount: uint256):
    """
    @dev Creates tokens; no fee is taken.
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
    @dev Moves tokens of the caller, less the fee.
    @param to The address that receives them.
    @param amount The amount that the caller loses.
    @return bool Always true.
    """
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    """
    @dev Moves tokens of `owner` by allowance, less the fee.
    @param owner The address that gave the allowance.
    @param to The address that receives them.
    @param amount The amount that the owner loses.
    @return bool Always true.
    """
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, to, amount)
    return True


@internal
def _move(owner: address, to: address, amount: uint256):
    """
    @dev Moves tokens, less the fee.
    @param owner The address that loses them.
    @param to The address that receives them.
    @param amount The amount that the owner loses.
    """
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount * (PPM - FEE_PPM) // PPM
