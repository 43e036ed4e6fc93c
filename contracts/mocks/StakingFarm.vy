# pragma version 0.4.3
"""
@title Farm for LP shares
@license MIT
@author rebalancer
@notice Pays a token at a constant rate to whoever stakes, in
        proportion to the shares staked. The interface, and the
        accounting per share, of Synthetix's StakingRewards.
@custom:security For tests only: the rate never ends, and what is owed
        is not set aside.
"""


from ethereum.ercs import IERC20


PRECISION: constant(uint256) = 10**18


stakingToken: public(immutable(IERC20))
rewardsToken: public(immutable(IERC20))
rewardRate: public(immutable(uint256))

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])

_updated_at: uint256
_per_share: uint256
_per_share_paid: HashMap[address, uint256]
_owed: HashMap[address, uint256]


@deploy
def __init__(staking_token: address, rewards_token: address, reward_rate: uint256):
    """
    @param staking_token What is staked.
    @param rewards_token What is paid.
    @param reward_rate Smallest units of it a second, for all together.
    """
    stakingToken = IERC20(staking_token)
    rewardsToken = IERC20(rewards_token)
    rewardRate = reward_rate


@external
def stake(amount: uint256):
    """
    @notice Put shares in; the farm must be allowed to take them.
    @param amount How many.
    """
    self._settle(msg.sender)
    self.totalSupply += amount
    self.balanceOf[msg.sender] += amount
    assert extcall stakingToken.transferFrom(msg.sender, self, amount), "staking_farm: no transfer"


@external
def withdraw(amount: uint256):
    """
    @notice Take shares out.
    @param amount How many.
    """
    self._settle(msg.sender)
    self._withdraw(msg.sender, amount)


@external
def getReward():
    """
    @notice Be paid what is owed.
    """
    self._settle(msg.sender)
    self._pay(msg.sender)


@external
def exit():
    """
    @notice Take all shares out and be paid what is owed.
    """
    self._settle(msg.sender)
    self._withdraw(msg.sender, self.balanceOf[msg.sender])
    self._pay(msg.sender)


@view
@external
def earned(account: address) -> uint256:
    """
    @notice What is owed by now.
    @param account To whom.
    @return Smallest units of the reward token.
    """
    return self._earned(account)


@internal
def _settle(account: address):
    self._per_share = self._reward_per_share()
    self._updated_at = block.timestamp
    self._owed[account] = self._earned(account)
    self._per_share_paid[account] = self._per_share


@internal
def _withdraw(account: address, amount: uint256):
    self.totalSupply -= amount
    self.balanceOf[account] -= amount
    assert extcall stakingToken.transfer(account, amount), "staking_farm: no transfer"


@internal
def _pay(account: address):
    owed: uint256 = self._owed[account]
    self._owed[account] = 0
    assert extcall rewardsToken.transfer(account, owed), "staking_farm: no transfer"


@view
@internal
def _reward_per_share() -> uint256:
    if self.totalSupply == 0:
        return self._per_share
    since: uint256 = block.timestamp - self._updated_at
    return self._per_share + since * rewardRate * PRECISION // self.totalSupply


@view
@internal
def _earned(account: address) -> uint256:
    grown: uint256 = self._reward_per_share() - self._per_share_paid[account]
    return self.balanceOf[account] * grown // PRECISION + self._owed[account]
