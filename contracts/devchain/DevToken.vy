# pragma version ==0.4.3
"""
@title Plain ERC-20 of the development chain
@license MIT
@notice Stands at the address of USDC, DAI, WBTC, UNI or LINK with that token's decimals.
@dev No allowance is infinite: every `transferFrom` uses some up. Only the minter makes more.
@custom:security For development chains only.
"""

from ethereum.ercs import IERC20

implements: IERC20


name: public(immutable(String[32]))
symbol: public(immutable(String[8]))
decimals: public(immutable(uint8))
_MINTER: immutable(address)

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(name_: String[32], symbol_: String[8], decimals_: uint8, minter: address):
    """
    @param name_ Name as on mainnet.
    @param symbol_ Symbol as on mainnet.
    @param decimals_ Decimals as on mainnet.
    @param minter The account that may create tokens.
    """
    name = name_
    symbol = symbol_
    decimals = decimals_
    _MINTER = minter


@external
def mint(to: address, amount: uint256):
    """
    @notice Create tokens.
    @param to Who gets them.
    @param amount In the smallest unit.
    """
    assert msg.sender == _MINTER, "dev_token: caller is not the minter"
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log IERC20.Transfer(sender=empty(address), receiver=to, value=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    """
    @notice Move the caller's tokens.
    @param to Who gets them.
    @param amount In the smallest unit.
    @return True; an impossible transfer reverts.
    """
    self._transfer(msg.sender, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Set what a spender may take from the caller.
    @param spender Who may take.
    @param amount In the smallest unit; replaces what was there.
    @return True.
    """
    self.allowance[msg.sender][spender] = amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    """
    @notice Move an owner's tokens within the caller's allowance.
    @param owner Whose tokens.
    @param to Who gets them.
    @param amount In the smallest unit.
    @return True; an impossible transfer reverts.
    """
    self.allowance[owner][msg.sender] -= amount
    self._transfer(owner, to, amount)
    return True


@internal
def _transfer(owner: address, to: address, amount: uint256):
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    log IERC20.Transfer(sender=owner, receiver=to, value=amount)
