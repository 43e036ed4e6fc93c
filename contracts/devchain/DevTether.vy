# pragma version ==0.4.3
"""
@title USDT of the development chain
@license MIT
@notice Behaves as Tether does on mainnet where it matters: `transfer`, `transferFrom` and `approve`
        return nothing, and changing one non-zero allowance into another reverts.
@dev An allowance of 2**256 - 1 is infinite, as in the original. Only the minter makes more tokens.
@custom:security For development chains only.
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256


event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256


name: public(constant(String[32])) = "Tether USD"
symbol: public(constant(String[8])) = "USDT"
decimals: public(constant(uint8)) = 6
_MINTER: immutable(address)

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(minter: address):
    """
    @param minter The account that may create tokens.
    """
    _MINTER = minter


@external
def mint(to: address, amount: uint256):
    """
    @notice Create tokens.
    @param to Who gets them.
    @param amount In the smallest unit.
    """
    assert msg.sender == _MINTER, "dev_tether: caller is not the minter"
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log Transfer(sender=empty(address), receiver=to, value=amount)


@external
def transfer(to: address, amount: uint256):
    """
    @notice Move the caller's tokens; returns nothing.
    @param to Who gets them.
    @param amount In the smallest unit.
    """
    self._transfer(msg.sender, to, amount)


@external
def approve(spender: address, amount: uint256):
    """
    @notice Set what a spender may take from the caller; returns nothing.
    @param spender Who may take.
    @param amount In the smallest unit; reverts when this and the standing allowance are not zero.
    """
    assert amount == 0 or self.allowance[msg.sender][spender] == 0
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)


@external
def transferFrom(owner: address, to: address, amount: uint256):
    """
    @notice Move an owner's tokens within the caller's allowance; returns nothing.
    @param owner Whose tokens.
    @param to Who gets them.
    @param amount In the smallest unit.
    """
    allowed: uint256 = self.allowance[owner][msg.sender]
    if allowed != max_value(uint256):
        self.allowance[owner][msg.sender] = allowed - amount
    self._transfer(owner, to, amount)


@internal
def _transfer(owner: address, to: address, amount: uint256):
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    log Transfer(sender=owner, receiver=to, value=amount)
