# pragma version 0.4.3
"""
@title Token that refuses transfers of a blocked address
@license MIT
@author rebalancer
@notice What a blocked address sends reverts, or returns false where
        `quietly` is set, and what is sent to it likewise.
@custom:security For tests only: anybody can mint and block.
"""


decimals: public(constant(uint8)) = 18


balanceOf: public(HashMap[address, uint256])


blocked_sender: public(address)
blocked_receiver: public(address)
quietly: public(bool)


@external
def block_address(sender: address, receiver: address, quietly: bool):
    """
    @dev Sets who is blocked.
    @param sender The address that cannot send.
    @param receiver The address that cannot receive.
    @param quietly Whether false is returned instead of a revert.
    """
    self.blocked_sender = sender
    self.blocked_receiver = receiver
    self.quietly = quietly


@external
def mint(to: address, amount: uint256):
    """
    @dev Creates tokens.
    @param to The address that owns them.
    @param amount The amount created.
    """
    self.balanceOf[to] += amount


@external
def transfer(to: address, amount: uint256) -> bool:
    """
    @dev Moves tokens of the caller, unless one of both is blocked.
    @param to The address that receives them.
    @param amount The amount moved.
    @return bool Whether they were moved.
    """
    if msg.sender == self.blocked_sender or to == self.blocked_receiver:
        assert self.quietly, "blocking_token: blocked"
        return False
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[to] += amount
    return True
