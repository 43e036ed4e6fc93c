# pragma version 0.4.3
"""
@title Token whose balances grow with time
@license MIT
@author rebalancer
@notice Every second adds a millionth of a percent to what an address
        holds, as a lending market's tokens do. Transfers move exactly
        what they say within a block.
@custom:security For tests only: anybody can mint.
"""


decimals: public(constant(uint8)) = 18


# @dev What a second adds, in units of 1 / ONE.
PER_SECOND: constant(uint256) = 10


ONE: constant(uint256) = 10 ** 9


_booked: HashMap[address, uint256]
_since: HashMap[address, uint256]


@external
def mint(to: address, amount: uint256):
    """
    @dev Creates tokens.
    @param to The address that owns them.
    @param amount The amount created.
    """
    self._book(to)
    self._booked[to] += amount


@external
def transfer(to: address, amount: uint256) -> bool:
    """
    @dev Moves tokens of the caller.
    @param to The address that receives them.
    @param amount The amount moved.
    @return bool Always true.
    """
    self._book(msg.sender)
    self._book(to)
    self._booked[msg.sender] -= amount
    self._booked[to] += amount
    return True


@external
@view
def balanceOf(owner: address) -> uint256:
    """
    @dev What an address holds by now.
    @param owner The address.
    @return uint256 The balance.
    """
    return self._grown(owner)


@internal
def _book(owner: address):
    """
    @dev Books what has grown.
    @param owner The address.
    """
    self._booked[owner] = self._grown(owner)
    self._since[owner] = block.timestamp


@internal
@view
def _grown(owner: address) -> uint256:
    """
    @dev The booked balance and its growth since.
    @param owner The address.
    @return uint256 The balance.
    """
    booked: uint256 = self._booked[owner]
    return booked + booked * (block.timestamp - self._since[owner]) * PER_SECOND // ONE
