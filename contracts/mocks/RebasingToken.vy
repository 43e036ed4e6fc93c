# pragma version 0.4.3
"""
@title Token whose balances all change when it rebases
@license MIT
@author rebalancer
@notice Balances are shares times an index, rounded down.
@custom:security For tests only: anybody can mint and rebase.
"""


decimals: public(constant(uint8)) = 18


# @dev The index of one.
ONE: constant(uint256) = 10 ** 18


# @dev The amount of one share, in units of 1 / ONE.
index: public(uint256)


shares_of: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__():
    """
    @dev Starts with one token per share.
    """
    self.index = ONE


@external
def mint(to: address, amount: uint256):
    """
    @dev Creates tokens.
    @param to The address that owns them.
    @param amount The amount created.
    """
    self.shares_of[to] += self._shares(amount)


@external
def rebase(index: uint256):
    """
    @dev Changes every balance.
    @param index The new amount of one share.
    """
    self.index = index


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
    @dev Moves tokens of `owner` by allowance.
    @param owner The address that gave the allowance.
    @param to The address that receives them.
    @param amount The amount moved.
    @return bool Always true.
    """
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, to, amount)
    return True


@external
@view
def balanceOf(owner: address) -> uint256:
    """
    @dev What the shares of an address are worth now.
    @param owner The address.
    @return uint256 The balance, rounded down.
    """
    return self.shares_of[owner] * self.index // ONE


@internal
def _move(owner: address, to: address, amount: uint256):
    """
    @dev Moves the shares of an amount.
    @param owner The address that loses them.
    @param to The address that receives them.
    @param amount The amount moved.
    """
    shares: uint256 = self._shares(amount)
    self.shares_of[owner] -= shares
    self.shares_of[to] += shares


@internal
@view
def _shares(amount: uint256) -> uint256:
    """
    @dev The shares of an amount, rounded down.
    @param amount The amount.
    @return uint256 The number of shares.
    """
    return amount * ONE // self.index
