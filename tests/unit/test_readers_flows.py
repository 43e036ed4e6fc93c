"""Flows: what a transaction did to a portfolio, told from its Transfer events alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from numbered_chain import at, header

from rebalancer.model import (
    Amount,
    Flow,
    GasReserve,
    LpHolding,
    PairState,
    Price,
    Reward,
    Snapshot,
    Token,
    Watched,
)
from rebalancer.readers.chain import Reorganised
from rebalancer.readers.flows import WRAPPED, read_flows
from rebalancer.readers.logs import TRANSFER, word

WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
STRANGER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
FARM = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
WETH = Token("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "WETH", 18)
USDC = Token("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6)
DAI = Token("0x6B175474E89094C44Da98b954EedeAC495271d0F", "DAI", 18)
LINK = Token("0x514910771AF9Ca656af840dff83E8264EcF986CA", "LINK", 18)
PAIR = PairState(
    "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc", "v2", USDC, WETH, 3_000, 1, 1, 1, 0, False
)
POSITIONS = ("WETH", "USDC", PAIR.name)
THEN = at(100)


def snapshot(farm: str | None = FARM) -> Snapshot:
    reward = Reward(LINK.address, LINK, 0) if farm else None
    return Snapshot(
        block=at(200),
        wallet=WALLET,
        numeraire="USD",
        native=Price(WETH, 1, 1, "", 0),
        native_wei=0,
        balances=(Amount(WETH, 0), Amount(USDC, 0), Amount(DAI, 0)),
        holdings=(LpHolding(PAIR.address, 1, None, farm=farm, reward=reward),),
        pairs=(PAIR,),
        prices=(),
        priority_fee_wei=0,
    )


class Logs:
    """A node with transfers ``(transaction, token, sender, receiver, raw)`` in block 150."""

    def __init__(self, *transfers: tuple[int, str, str, str, int]) -> None:
        self.raw = [
            {
                "address": token,
                "topics": [TRANSFER, word(sender), word(receiver)],
                "data": f"0x{raw:064x}",
                "blockNumber": hex(150),
                "blockHash": f"0x{150:064x}",
                "transactionHash": f"0x{tx:064x}",
                "logIndex": hex(index),
            }
            for index, (tx, token, sender, receiver, raw) in enumerate(transfers)
        ]
        self.asked: list[tuple[int, int]] = []

    def call(self, method: str, *params: Any) -> Any:
        raise AssertionError(method)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        answers: list[Any] = []
        for method, (wanted, *rest) in calls:
            if rest == [False]:
                answers.append(header(int(wanted, 16)))
                continue
            assert method == "eth_getLogs"
            self.asked.append((int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)))
            answers.append(
                [
                    log
                    for log in self.raw
                    if log["address"] in wanted["address"]
                    and all(
                        w is None or w == g
                        for w, g in zip(wanted["topics"], log["topics"], strict=False)
                    )
                ]
            )
        return answers


def flows(*transfers: tuple[int, str, str, str, int]) -> list[tuple[str, str, int]]:
    found = read_flows(Logs(*transfers), snapshot(), POSITIONS, THEN)
    return [(flow.kind, flow.asset, flow.raw) for flow in found]


def test_deposit_and_withdrawal() -> None:
    assert flows(
        (1, USDC.address, STRANGER, WALLET, 7), (2, WETH.address, WALLET, STRANGER, 5)
    ) == [
        ("deposit", USDC.address, 7),
        ("withdrawal", WETH.address, -5),
    ]


def test_swap_and_liquidity__both_ways_in_one_transaction__are_trades() -> None:
    zero = "0x" + "00" * 20
    assert flows(
        (1, USDC.address, WALLET, PAIR.address, 7),
        (1, WETH.address, PAIR.address, WALLET, 3),
        (2, USDC.address, WALLET, PAIR.address, 10),
        (2, WETH.address, WALLET, PAIR.address, 4),
        (2, PAIR.address, zero, WALLET, 6),
    ) == [
        ("trade", USDC.address, -7),
        ("trade", WETH.address, 3),
        ("trade", USDC.address, -10),
        ("trade", WETH.address, -4),
        ("trade", PAIR.address, 6),
    ]


def test_several_transfers_of_a_transaction__count_net() -> None:
    assert flows(
        (1, USDC.address, WALLET, STRANGER, 10),
        (1, USDC.address, STRANGER, WALLET, 10),
        (1, WETH.address, STRANGER, WALLET, 2),
        (1, WETH.address, STRANGER, WALLET, 1),
        (1, WETH.address, WALLET, WALLET, 99),
    ) == [("deposit", WETH.address, 3)]


def test_bought_with_what_is_no_position__is_a_deposit() -> None:
    assert flows(
        (1, DAI.address, WALLET, STRANGER, 10),
        (1, WETH.address, STRANGER, WALLET, 1),
    ) == [("deposit", WETH.address, 1)]


def test_farm__staking_is_none__its_reward_is_a_claim() -> None:
    found = read_flows(
        Logs(
            (1, PAIR.address, WALLET, FARM, 100),
            (2, PAIR.address, FARM, WALLET, 100),
            (2, LINK.address, FARM, WALLET, 8),
            (3, LINK.address, STRANGER, WALLET, 9),
        ),
        snapshot(),
        POSITIONS,
        THEN,
    )
    assert found == (Flow(150, f"0x{2:064x}", "claim", LINK.address, 8, farm=FARM),)
    # The same shares sent to somebody else's contract have left.
    other = read_flows(
        Logs((1, PAIR.address, WALLET, FARM, 100)), snapshot(farm=None), POSITIONS, THEN
    )
    assert [(flow.kind, flow.raw) for flow in other] == [("withdrawal", -100)]


def test_range__is_after_the_one_block_up_to_the_other() -> None:
    node = Logs()
    assert read_flows(node, snapshot(), POSITIONS, THEN) == ()
    assert set(node.asked) == {(101, 200)}
    assert read_flows(Logs(), snapshot(), POSITIONS, snapshot().block) == ()


def test_watched_wallets__are_the_portfolio_as_well() -> None:
    watched = replace(snapshot(), watched=(Watched(STRANGER, (), ()),))
    outside = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
    node = Logs(
        (1, USDC.address, WALLET, STRANGER, 7),
        (2, WETH.address, outside, STRANGER, 5),
        (3, WETH.address, STRANGER, outside, 2),
        (3, USDC.address, outside, WALLET, 4),
        (4, PAIR.address, STRANGER, FARM, 9),
        (5, LINK.address, FARM, STRANGER, 9),
    )
    found = read_flows(node, watched, POSITIONS, THEN)
    assert [(flow.kind, flow.asset, flow.raw) for flow in found] == [
        ("deposit", WETH.address, 5),
        ("trade", WETH.address, -2),
        ("trade", USDC.address, 4),
        ("claim", LINK.address, 9),
    ]


@pytest.mark.parametrize("positions", [(), ("WBTC",)])
def test_nothing_to_look_for__asks_nothing(positions: tuple[str, ...]) -> None:
    node = Logs()
    assert read_flows(node, snapshot(), positions, THEN) == ()
    assert node.asked == []


def test_block_that_the_flows_begin_after__must_be_of_the_chain() -> None:
    gone = replace(THEN, hash="0x" + "ee" * 32)
    with pytest.raises(Reorganised, match="block 100"):
        read_flows(Logs(), snapshot(), POSITIONS, gone)


# With a gas reserve: ether above it counts


ETH = Token("0x" + "00" * 20, "ETH", 18)


class Ether(Logs):
    """The wallet's one transaction, number 1, in block 150, and later some ether."""

    def __init__(self, *transfers: tuple[int, str, str, str, int], wraps: int = 0) -> None:
        super().__init__(*transfers)
        if wraps:
            log = {**self.raw[0], "address": WETH.address, "topics": [WRAPPED, word(WALLET)]}
            log |= {"data": f"0x{wraps:064x}", "transactionHash": f"0x{1:064x}"}
            self.raw.append({**log, "logIndex": hex(999)})

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if any(method == "eth_getLogs" for method, _ in calls):
            return super().batch(calls)
        return [self._ether(method, *params) for method, params in calls]

    def _ether(self, method: str, what: str, block: Any = None) -> Any:
        name = f"0x{1:064x}"
        if method == "eth_getBlockByNumber":
            sent = {"hash": name, "from": WALLET.lower(), "value": hex(50)}
            return {**header(int(what, 16)), "transactions": [sent]}
        if method == "eth_getTransactionReceipt":
            assert what == name
            return {"gasUsed": hex(3), "effectiveGasPrice": hex(2), "status": "0x1"}
        number = int(block, 16)
        if method == "eth_getTransactionCount":
            return hex(4 + (number >= 150))
        assert method == "eth_getBalance"
        return hex(1_000 - 56 * (number >= 150) + 9 * (number >= 170))


def with_ether(node: Logs, positions: Sequence[str] = POSITIONS) -> list[tuple[Any, ...]]:
    ether = Price(ETH, 1, 1, "", 0)
    at = replace(snapshot(), native=ether, gas_reserve=GasReserve(WETH, 10))
    found = read_flows(node, at, positions, THEN)
    return [(flow.block_number, flow.kind, flow.asset, flow.raw) for flow in found]


def test_ether_that_buys__is_a_trade_with_its_gas_and_what_came_a_deposit() -> None:
    """Executor: the ether goes along, the tokens come from the pair; no Transfer of WETH to us."""
    assert with_ether(Ether((1, USDC.address, PAIR.address, WALLET, 7))) == [
        (150, "gas", ETH.address, -6),
        (150, "trade", ETH.address, -50),
        (150, "trade", USDC.address, 7),
        (200, "deposit", ETH.address, 9),
    ]


def test_ether_that_is_wrapped_by_hand__is_a_trade_with_itself() -> None:
    assert with_ether(Ether((2, USDC.address, STRANGER, WALLET, 7), wraps=50)) == [
        (150, "deposit", USDC.address, 7),
        (150, "gas", ETH.address, -6),
        (150, "trade", ETH.address, -50),
        (150, "trade", WETH.address, 50),
        (200, "deposit", ETH.address, 9),
    ]


def test_wrapped_token_that_is_no_position__is_not_asked_for() -> None:
    node = Logs((1, USDC.address, STRANGER, WALLET, 7))
    assert with_ether(node, ("USDC", "DAI")) == [(150, "deposit", USDC.address, 7)]
