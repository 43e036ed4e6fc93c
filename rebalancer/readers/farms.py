"""Staked LP shares: what a farm holds for the wallets and what it owes them.

A farm is a contract like Synthetix's StakingRewards: ``stakingToken``, ``rewardsToken``,
``balanceOf``, ``earned``. Nobody vouches for it, so its word is checked: it must be a farm of the
position's own pair, must hold the shares that it says are the wallets', and what it owes counts up
to what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rebalancer.config.networks import Network
from rebalancer.config.portfolio import LpSpec
from rebalancer.evm.abi import checksum
from rebalancer.evm.rpc import Rpc
from rebalancer.model import UNREADABLE, HeldOut, Reward, Token
from rebalancer.readers.call import Call
from rebalancer.readers.fence import ask
from rebalancer.readers.tokens import Answers, balance_of


@dataclass(frozen=True, slots=True)
class Farm:
    """A farm of the pair at ``pair``; ``token`` is its reward's, if networks.yaml knows it.

    With a ``fault`` it is none, and nothing else of it is asked.
    """

    lp: LpSpec
    address: str
    reward_address: str
    token: Token | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Stake:
    """Shares that ``farm`` holds for a wallet, and what it owes it."""

    farm: str
    shares: int
    reward: Reward


def find_farms(
    rpc: Rpc, network: Network, lps: Sequence[LpSpec], block_hash: str
) -> tuple[Farm, ...]:
    """The farms of those positions that name one; one request, none where none does.

    Raises ReadError where the node refuses.
    """
    staked = [(lp, lp.staked_in) for lp in lps if lp.staked_in is not None]
    if not staked:
        return ()
    calls = [call for _, farm in staked for call in (staking_token(farm), rewards_token(farm))]
    answers = ask(rpc, network.multicall3, (), calls, block_hash)
    return tuple(_farm(answers, network, lp, farm) for lp, farm in staked)


def reward_tokens(farms: Sequence[Farm]) -> tuple[Token, ...]:
    """The known tokens that the farms pay: they need prices too."""
    return tuple(dict.fromkeys(farm.token for farm in farms if farm.token is not None))


def farm_calls(farms: Sequence[Farm], wallets: Sequence[str]) -> Iterable[Call]:
    """What each farm says is each wallet's, and what it has."""
    for farm in farms:
        if not farm.fault:
            for wallet in wallets:
                yield balance_of(farm.address, wallet)
                yield earned(farm.address, wallet)
            yield balance_of(farm.lp.pair, farm.address)
            yield balance_of(farm.reward_address, farm.address)


def read_stakes(
    answers: Answers, farms: Sequence[Farm], wallets: Sequence[str]
) -> tuple[dict[str, tuple[Stake, ...]], tuple[HeldOut, ...]]:
    """Stakes by pair, one of each wallet, and the positions whose farm cannot be read or believed.

    What a farm has pays the wallets in their order.
    """
    stakes: dict[str, tuple[Stake, ...]] = {}
    unreadable: list[HeldOut] = []
    for farm in farms:
        found = farm.fault or _stakes(answers, farm, wallets)
        if isinstance(found, str):
            text = f"the farm of {farm.lp.name} at {farm.address} {found}"
            unreadable.append(HeldOut(farm.lp.name, farm.lp.pair, UNREADABLE, text))
        else:
            stakes[farm.lp.pair] = found
    return stakes, tuple(unreadable)


def staking_token(farm: str) -> Call:
    return Call(farm, "stakingToken()", (), ("address",))


def rewards_token(farm: str) -> Call:
    return Call(farm, "rewardsToken()", (), ("address",))


def earned(farm: str, owner: str) -> Call:
    return Call(farm, "earned(address)", (owner,))


def _farm(answers: Answers, network: Network, lp: LpSpec, address: str) -> Farm:
    staking, rewards = answers[staking_token(address)], answers[rewards_token(address)]
    staked, paid = staking.values(), rewards.values()
    if staked is None or paid is None:
        failed = staking if staked is None else rewards
        return Farm(lp, address, "", None, f"cannot be read: {failed.failure}")
    if checksum(staked[0]) != lp.pair:
        fault = f"stakes {checksum(staked[0])}, which is not the pair {lp.pair}"
        return Farm(lp, address, "", None, fault)
    reward_address = checksum(paid[0])
    known = {spec.address: symbol for symbol, spec in network.tokens.items()}
    symbol = known.get(reward_address)
    return Farm(lp, address, reward_address, network.token(symbol) if symbol else None)


def _stakes(answers: Answers, farm: Farm, wallets: Sequence[str]) -> tuple[Stake, ...] | str:
    """What the farm holds of each wallet and owes it; or why that cannot be believed."""
    has = _uint(answers, balance_of(farm.lp.pair, farm.address))
    if isinstance(has, str):
        return f"cannot be read: {has}"
    can_pay = _uint(answers, balance_of(farm.reward_address, farm.address))
    # A reward token that does not answer pays nothing.
    left = 0 if isinstance(can_pay, str) else can_pay
    stakes: list[Stake] = []
    for wallet in wallets:
        shares = _uint(answers, balance_of(farm.address, wallet))
        owed = _uint(answers, earned(farm.address, wallet))
        if isinstance(shares, str) or isinstance(owed, str):
            return f"cannot be read: {shares if isinstance(shares, str) else owed}"
        payable = min(owed, left)
        left -= payable
        reward = Reward(farm.reward_address, farm.token, payable)
        stakes.append(Stake(farm.address, shares, reward))
    claimed = sum(stake.shares for stake in stakes)
    if claimed > has:
        whose = "wallet" if len(wallets) == 1 else "wallets"
        return f"says that it holds {claimed} shares for the {whose}, and has {has}"
    return tuple(stakes)


def _uint(answers: Answers, call: Call) -> int | str:
    values = answers[call].values()
    return answers[call].failure if values is None else int(values[0])
