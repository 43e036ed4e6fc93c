"""LP positions on a chain: lots and flows from real logs, farms, discovery; all to the wei."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode

from rebalancer.amm import apply_burn, apply_mint, apply_swap, effective_total_supply, value
from rebalancer.amm.attribution import attribute
from rebalancer.amm.lots import remove, total_shares
from rebalancer.config.networks import Network
from rebalancer.config.portfolio import Portfolio, ResolvedPortfolio, resolve
from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, MARKET_MAKER, TREASURY
from rebalancer.devchain.cheats import Call, call_of, mine_block, view
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.funding import deal
from rebalancer.devchain.market import move
from rebalancer.errors import ReadError
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Amount, Flow, LpEntry, LpLot, PairState, Snapshot, Token
from rebalancer.readers.chain import Reorganised, read_block
from rebalancer.readers.discovery import discover
from rebalancer.readers.flows import read_flows
from rebalancer.readers.history import LotReader
from rebalancer.readers.snapshot import read_snapshot
from scripts.compile_contracts import compile_contract

ROOT = Path(__file__).resolve().parents[2]
SUSHI = "sushiswap:USDC/WETH"
UNISWAP = "uniswap_v2:USDC/WETH"
#: Of the reward token, for all stakers together.
RATE = 10**15


def portfolio(
    network: Network, *lps: dict[str, Any], tokens: Sequence[str] = ("WETH", "USDC")
) -> ResolvedPortfolio:
    """A portfolio of the treasury: what is not in ``tokens`` and ``lps`` is a target of WETH."""
    positions: list[dict[str, Any]] = [{"token": symbol, "target": "5%"} for symbol in tokens[1:]]
    positions += [{"target": "5%", **lp} for lp in lps]
    positions.append({"token": tokens[0], "target": f"{100 - 5 * len(positions)}%"})
    spec = {"name": "t", "network": network.name, "wallet": TREASURY, "positions": positions}
    return resolve(Portfolio.model_validate(spec), network)


def pair_of(snapshot: Snapshot, name: str) -> PairState:
    return next(pair for pair in snapshot.pairs if pair.name == name)


class Refusing:
    """An Rpc that refuses eth_getLogs of more than ``most`` blocks, and counts."""

    def __init__(self, rpc: Rpc, most: int, code: int = -32005) -> None:
        self.rpc, self.most, self.code = rpc, most, code
        self.asked: list[tuple[int, int]] = []
        self.refused = 0

    def call(self, method: str, *params: Any) -> Any:
        return self.rpc.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        for method, params in calls:
            if method != "eth_getLogs":
                continue
            first, last = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
            self.asked.append((first, last))
            if last - first + 1 > self.most:
                self.refused += 1
                raise RpcError(method, self.code, "no wording that anybody should read")
        return self.rpc.batch(calls)


class Trader:
    """The treasury at work on one pair, and what we expect its lots to be."""

    def __init__(self, chain: DevChain, pair: PairState, dice: random.Random) -> None:
        self.chain, self.pair, self.dice = chain, pair, dice
        self.lots: tuple[LpLot, ...] = ()
        self.calls: list[Call] = []
        self.number = 0

    def block(self, steps: int) -> None:
        """A block of so many random steps, all by the treasury."""
        self.number = read_block(self.chain.rpc).number + 1
        for _ in range(steps):
            self.dice.choice([self.add, self.add, self.swap, self.swap, self.burn])()
        mine_block(self.chain.rpc, TREASURY, self.calls)
        self.calls = []

    def add(self) -> None:
        part = self.dice.randrange(10**3, 10**6)
        amounts = self.pair.reserve0 // part, self.pair.reserve1 // self.dice.choice((part, 999))
        self.pair, shares = apply_mint(self.pair, *amounts)
        entry = LpEntry(self.number, self.pair.reserve0, self.pair.reserve1, self.pair.total_supply)
        self.lots = (*self.lots, LpLot("added", entry, shares, shares, *amounts))
        self._pay(self.pair.token0, amounts[0])
        self._pay(self.pair.token1, amounts[1])
        self._call("mint(address)", TREASURY)

    def swap(self) -> None:
        token_in = self.dice.choice((self.pair.token0, self.pair.token1))
        amount_in = self.pair.reserves(token_in)[0] // self.dice.randrange(50, 5_000)
        self.pair, out = apply_swap(self.pair, token_in, amount_in)
        outs = (0, out) if token_in == self.pair.token0 else (out, 0)
        self._pay(token_in, amount_in)
        self._call("swap(uint256,uint256,address,bytes)", *outs, TREASURY, b"")

    def burn(self) -> None:
        held = total_shares(self.lots)
        if not held:
            return
        shares = held if self.dice.random() < 0.15 else held * self.dice.randrange(1, 99) // 99
        self.pair, _, _ = apply_burn(self.pair, shares)
        self.lots = remove(self.lots, shares)
        self._call("transfer(address,uint256)", self.pair.address, shares)
        self._call("burn(address)", TREASURY)

    def _pay(self, token: Token, raw: int) -> None:
        data = ("transfer(address,uint256)", self.pair.address, raw)
        self.calls.append(call_of(token.address, *data))

    def _call(self, signature: str, *args: Any) -> None:
        self.calls.append(call_of(self.pair.address, signature, *args))


def make_rich(chain: DevChain) -> None:
    for token, whole in ((m.USDC, 50_000_000), (m.WETH, 20_000)):
        deal(chain.rpc, Amount(token, whole * 10**token.decimals), TREASURY)
    chain.rpc.call("evm_mine")


@pytest.mark.parametrize(("name", "fee_on"), [(SUSHI, True), (UNISWAP, False)])
def test_lots__random_history__are_those_of_the_mirror(
    devchain: DevChain, mainnet: Network, name: str, fee_on: bool
) -> None:
    """Several adds, swaps and partial removes to a block; the node refuses more than 5 blocks."""
    make_rich(devchain)
    start = read_block(devchain.rpc)
    resolved = portfolio(mainnet, {"lp": name, "since_block": start.number + 1})
    before = read_snapshot(devchain.rpc, resolved)
    held = before.holdings[0].shares
    if held:  # the treasury's own position of the synthetic chain: give it away first
        give = call_of(
            pair_of(before, name).address, "transfer(address,uint256)", ARBITRAGEUR, held
        )
        mine_block(devchain.rpc, TREASURY, [give])
        start = read_block(devchain.rpc)
        resolved = portfolio(mainnet, {"lp": name, "since_block": start.number + 1})
        before = read_snapshot(devchain.rpc, resolved)
    pair = pair_of(before, name)
    assert pair.protocol_fee_on == fee_on
    trader = Trader(devchain, pair, random.Random(name))  # noqa: S311
    rpc = Refusing(devchain.rpc, most=5)
    reader = LotReader(rpc, mainnet, TREASURY)
    (lp,) = resolved.lps
    seen = 0
    for size in (2, 5, 1, 4, 6, 3, 5, 7):
        trader.block(size)
        devchain.rpc.call("anvil_mine", "0x3")
        snapshot = read_snapshot(devchain.rpc, resolved)
        assert pair_of(snapshot, name) == trader.pair
        shares = snapshot.holdings[0].shares
        assert shares == total_shares(trader.lots)
        assert reader.lots(lp, shares, snapshot.block) == trader.lots  # goes on
        fresh = LotReader(rpc, mainnet, TREASURY)
        assert fresh.lots(lp, shares, snapshot.block) == trader.lots  # from the beginning
        seen += len(trader.lots)
        flows = read_flows(rpc, snapshot, resolved.scheme.positions, before.block)
        found = attribute(before, snapshot, resolved.scheme.positions, flows)
        then, now = value(before, resolved.targets), value(snapshot, resolved.targets)
        assert found.nav.total == now.nav_e8 - then.nav_e8
        assert {change.value.other for change in found.positions} == {0}
        assert found.nav.flows != 0
    assert rpc.refused
    assert seen > 10


def test_lots__of_the_synthetic_treasury__are_what_it_paid_in(
    devchain: DevChain, mainnet: Network
) -> None:
    resolved = portfolio(mainnet, {"lp": UNISWAP, "since_block": 1})
    snapshot = read_snapshot(devchain.rpc, resolved)
    reader = LotReader(devchain.rpc, mainnet, TREASURY)
    (lot,) = reader.lots(resolved.lps[0], snapshot.holdings[0].shares, snapshot.block)
    assert (lot.how, lot.entry.block_number) == ("added", devchain.lp_block)
    assert (lot.amount0, lot.amount1) == (100_000 * 10**6, 33_333333333333333333)
    types = ("uint112", "uint112", "uint32")
    pair = resolved.lps[0].pair
    reserves = view(devchain.rpc, pair, "getReserves()", types)[:2]
    supply = view(devchain.rpc, pair, "totalSupply()", ("uint256",))
    assert (lot.entry.reserve0, lot.entry.reserve1, lot.entry.total_supply) == (*reserves, *supply)


def test_lots__held_before_and_received__are_valued_at_the_pair_of_the_block(
    devchain: DevChain, mainnet: Network
) -> None:
    move(devchain.rpc, mainnet, {"WETH": 100_000})
    head = read_block(devchain.rpc)
    resolved = portfolio(mainnet, {"lp": UNISWAP, "since_block": head.number + 1})
    opening = read_snapshot(devchain.rpc, resolved)
    pair, held = pair_of(opening, UNISWAP), opening.holdings[0].shares
    move(devchain.rpc, mainnet, {"WETH": 100_000})
    gift = 10**12
    mine_block(
        devchain.rpc,
        MARKET_MAKER,
        [call_of(pair.address, "transfer(address,uint256)", TREASURY, gift)],
    )
    received = read_snapshot(devchain.rpc, resolved)
    lots = LotReader(devchain.rpc, mainnet, TREASURY).lots(
        resolved.lps[0], held + gift, received.block
    )
    assert [(lot.how, lot.entered, lot.shares) for lot in lots] == [
        ("opening", held, held),
        ("received", gift, gift),
    ]
    for lot, snapshot in zip(lots, (opening, received), strict=True):
        then = pair_of(snapshot, UNISWAP)
        supply = effective_total_supply(then)
        assert lot.entry == LpEntry(snapshot.block.number, then.reserve0, then.reserve1, supply)
        assert (lot.amount0, lot.amount1) == (
            lot.shares * then.reserve0 // supply,
            lot.shares * then.reserve1 // supply,
        )
    flows = read_flows(devchain.rpc, received, resolved.scheme.positions, opening.block)
    assert [(flow.kind, flow.asset, flow.raw) for flow in flows] == [
        ("deposit", pair.address, gift)
    ]


def test_lots__received_from_a_pool_that_owes_the_protocol__count_its_pending_shares(
    devchain: DevChain, mainnet: Network
) -> None:
    start = read_block(devchain.rpc).number
    resolved = portfolio(mainnet, {"lp": SUSHI, "since_block": start + 1})
    (lp,) = resolved.lps
    move(devchain.rpc, mainnet, {"WETH": 400_000})
    data = ("transfer(address,uint256)", TREASURY, 10**12)
    mine_block(devchain.rpc, MARKET_MAKER, [call_of(lp.pair, *data)])
    snapshot = read_snapshot(devchain.rpc, resolved)
    pair = pair_of(snapshot, SUSHI)
    supply = effective_total_supply(pair)
    assert supply > pair.total_supply
    (lot,) = LotReader(devchain.rpc, mainnet, TREASURY).lots(lp, 10**12, snapshot.block)
    assert lot.entry.total_supply == supply
    assert lot.amount0 == 10**12 * pair.reserve0 // supply


def test_lots__of_an_earlier_block__after_a_later_one_was_read(
    devchain: DevChain, mainnet: Network
) -> None:
    resolved = portfolio(mainnet, {"lp": UNISWAP, "since_block": 1})
    (lp,) = resolved.lps
    early = read_snapshot(devchain.rpc, resolved)
    data = ("transfer(address,uint256)", TREASURY, 777)
    mine_block(devchain.rpc, MARKET_MAKER, [call_of(lp.pair, *data)])
    late = read_snapshot(devchain.rpc, resolved)
    reader = LotReader(devchain.rpc, mainnet, TREASURY)
    counts = [
        len(reader.lots(lp, snapshot.holdings[0].shares, snapshot.block))
        for snapshot in (late, early, late)
    ]
    assert counts == [2, 1, 2]


def test_lots__logs_that_lack_events__are_refused(devchain: DevChain, mainnet: Network) -> None:
    """A node that drops logs does not get away with another history."""

    class Forgetful(Refusing):
        def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
            forget = [
                method == "eth_getLogs" and len(params[0]["topics"]) == 3
                for method, params in calls
            ]
            answers = super().batch(calls)
            return [[] if lost else a for lost, a in zip(forget, answers, strict=True)]

    make_rich(devchain)
    resolved = portfolio(mainnet, {"lp": UNISWAP, "since_block": 1})
    snapshot = read_snapshot(devchain.rpc, resolved)
    reader = LotReader(Forgetful(devchain.rpc, 100), mainnet, TREASURY)
    with pytest.raises(ReadError, match=r"0 were held at block 0, not \d+$") as caught:
        reader.lots(resolved.lps[0], snapshot.holdings[0].shares, snapshot.block)
    assert "entry_block" in caught.value.hint


def test_lots__after_a_reorganisation__are_of_the_new_chain(
    devchain: DevChain, mainnet: Network
) -> None:
    resolved = portfolio(mainnet, {"lp": UNISWAP, "since_block": 1})
    (lp,) = resolved.lps
    reader = LotReader(devchain.rpc, mainnet, TREASURY)
    before = devchain.rpc.call("evm_snapshot")

    def receive(raw: int) -> tuple[LpLot, ...]:
        data = ("transfer(address,uint256)", TREASURY, raw)
        mine_block(devchain.rpc, MARKET_MAKER, [call_of(lp.pair, *data)])
        snapshot = read_snapshot(devchain.rpc, resolved)
        return reader.lots(lp, snapshot.holdings[0].shares, snapshot.block)

    assert [lot.shares for lot in receive(777)[1:]] == [777]
    assert devchain.rpc.call("evm_revert", before)
    devchain.rpc.call("evm_mine")
    assert [lot.shares for lot in receive(888)[1:]] == [888]


def test_logs__reorganisation_between_two_pages__is_noticed(
    devchain: DevChain, mainnet: Network
) -> None:
    """The other chain has the same transfer at another place: no page would show it twice."""
    resolved = portfolio(mainnet, {"lp": UNISWAP, "since_block": 1})
    (lp,) = resolved.lps
    before = read_snapshot(devchain.rpc, resolved)
    point = devchain.rpc.call("evm_snapshot")

    def grow(*blocks: bool) -> None:
        for transfers in blocks:
            data = ("transfer(address,uint256)", TREASURY, 777)
            mine_block(devchain.rpc, MARKET_MAKER, [call_of(lp.pair, *data)] * transfers)
            devchain.rpc.call("anvil_mine", "0x4")

    grow(True, False, False)
    after = read_snapshot(devchain.rpc, resolved)

    class Turning(Refusing):
        """Four pages in, the chain is another one of at least the same length."""

        def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
            answers = super().batch(calls)
            if len(self.asked) > 8 and not self.turned:
                self.turned = True
                assert devchain.rpc.call("evm_revert", point)
                grow(False, False, True, False)
            return answers

        turned = False

    rpc = Turning(devchain.rpc, most=2)
    with pytest.raises(Reorganised, match=f"block {after.block.number} "):
        read_flows(rpc, after, resolved.scheme.positions, before.block)
    assert rpc.turned
    # What is asked of the new chain is answered, and what is asked of the old one is refused.
    new = read_snapshot(devchain.rpc, resolved)
    (flow,) = read_flows(devchain.rpc, new, resolved.scheme.positions, before.block)
    assert (flow.kind, flow.raw) == ("deposit", 777)
    reader = LotReader(devchain.rpc, mainnet, TREASURY)
    with pytest.raises(Reorganised, match="is not part of the chain any more"):
        reader.lots(lp, after.holdings[0].shares, after.block)


@pytest.fixture(scope="module")
def farm_code() -> str:
    artifact = compile_contract(ROOT / "contracts" / "mocks" / "StakingFarm.vy")
    return str(artifact["bytecode"])


@pytest.fixture
def farm(devchain: DevChain, mainnet: Network, farm_code: str) -> str:
    """A farm of USDC/WETH that pays LINK."""
    pair = mainnet.amms["uniswap_v2"].pair_address(m.USDC, m.WETH)
    return put_farm(devchain, farm_code, pair, mainnet.token("LINK").address)


def put_farm(chain: DevChain, code: str, pair: str, reward: str) -> str:
    init = code + encode(["address", "address", "uint256"], [pair, reward, RATE]).hex()
    (receipt,) = mine_block(chain.rpc, MARKET_MAKER, [Call(None, init, gas_limit=3_000_000)])
    from rebalancer.evm.abi import checksum

    return checksum(receipt["contractAddress"])


def stake(chain: DevChain, pair: str, farm: str, shares: int) -> None:
    approve = call_of(pair, "approve(address,uint256)", farm, shares)
    mine_block(chain.rpc, TREASURY, [approve, call_of(farm, "stake(uint256)", shares)])


def test_farm__staked_shares_and_what_is_owed__count(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    link = mainnet.token("LINK")
    plain = portfolio(mainnet, {"lp": UNISWAP})
    resolved = portfolio(mainnet, {"lp": UNISWAP, "staked_in": farm, "since_block": 1})
    (lp,) = resolved.lps
    whole = read_snapshot(devchain.rpc, plain)
    held = whole.holdings[0].shares
    stake(devchain, lp.pair, farm, held * 3 // 4)
    deal(devchain.rpc, Amount(link, 10**6 * 10**18), farm)
    devchain.rpc.call("anvil_mine", "0x4")
    snapshot = read_snapshot(devchain.rpc, resolved)
    (holding,) = snapshot.holdings
    assert (holding.shares, holding.staked, holding.liquid) == (
        held,
        held * 3 // 4,
        held - held * 3 // 4,
    )
    (owed,) = view(devchain.rpc, farm, "earned(address)", ("uint256",), TREASURY)
    assert holding.reward is not None
    assert (holding.reward.token, holding.reward.raw) == (link, owed)
    assert owed > 0

    valuation, before = value(snapshot, resolved.targets), value(whole, plain.targets)
    reward_e8 = snapshot.price(link).value_down(owed)
    position = valuation.position(UNISWAP)
    assert position.lp is not None
    assert position.lp.reward_value_e8 == reward_e8 > 0
    assert position.value_e8 == before.position(UNISWAP).value_e8 + reward_e8
    assert ("LINK", owed) in {(e.symbol, e.raw) for e in valuation.exposures}
    assert sum(e.value_e8 for e in valuation.exposures) == valuation.nav_e8
    # Staking moved nothing, and the lots are those of the add.
    reader = LotReader(devchain.rpc, mainnet, TREASURY)
    (lot,) = reader.lots(lp, holding.shares, snapshot.block)
    assert (lot.how, lot.shares) == ("added", held)
    assert read_flows(devchain.rpc, snapshot, resolved.scheme.positions, whole.block) == ()


def test_farm__claim_and_exit__are_income_of_the_position_and_no_deposit(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    link = mainnet.token("LINK")
    resolved = portfolio(
        mainnet, {"lp": UNISWAP, "staked_in": farm}, tokens=("WETH", "USDC", "LINK")
    )
    (lp,) = resolved.lps
    deal(devchain.rpc, Amount(link, 10**6 * 10**18), farm)
    held = read_snapshot(devchain.rpc, resolved).holdings[0].shares
    stake(devchain, lp.pair, farm, held)
    devchain.rpc.call("anvil_mine", "0x5")
    before = read_snapshot(devchain.rpc, resolved)
    devchain.rpc.call("anvil_mine", "0x5")
    mine_block(devchain.rpc, TREASURY, [call_of(farm, "exit()")])
    after = read_snapshot(devchain.rpc, resolved)
    assert (after.holdings[0].shares, after.holdings[0].staked) == (held, 0)
    flows = read_flows(devchain.rpc, after, resolved.scheme.positions, before.block)
    claimed = after.balance(link) - before.balance(link)
    (flow,) = flows
    assert flow == Flow(after.block.number, flow.tx_hash, "claim", link.address, claimed, farm=farm)
    owed = before.holdings[0].reward
    assert owed is not None
    assert claimed > owed.raw > 0
    found = attribute(before, after, resolved.scheme.positions, flows)
    price = after.price(link)
    lp_change = next(c for c in found.positions if c.name == UNISWAP)
    link_change = next(c for c in found.positions if c.name == "LINK")
    assert lp_change.value.fees == price.value_down(claimed) - price.value_down(owed.raw)
    assert lp_change.value.trades == -price.value_down(claimed)
    assert link_change.value.trades == price.value_down(claimed)
    assert (found.nav.deposits, found.nav.other) == (0, 0)
    assert found.nav.total == found.nav_after_e8 - found.nav_before_e8


def test_farm__that_owes_more_than_it_has__counts_what_it_has(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    link = mainnet.token("LINK")
    resolved = portfolio(mainnet, {"lp": UNISWAP, "staked_in": farm})
    stake(devchain, resolved.lps[0].pair, farm, 10**9)
    deal(devchain.rpc, Amount(link, 5), farm)
    devchain.rpc.call("anvil_mine", "0x3")
    (holding,) = read_snapshot(devchain.rpc, resolved).holdings
    assert holding.reward is not None
    assert holding.reward.raw == 5


def test_farm__that_no_longer_has_the_shares__is_not_believed(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    resolved = portfolio(mainnet, {"lp": UNISWAP, "staked_in": farm})
    (lp,) = resolved.lps
    stake(devchain, lp.pair, farm, 10**9)
    data = ("transfer(address,uint256)", ARBITRAGEUR, 1)
    mine_block(devchain.rpc, farm, [call_of(lp.pair, *data)])
    snapshot = read_snapshot(devchain.rpc, resolved)
    assert snapshot.holdings == ()
    (item,) = snapshot.held_out
    assert f"says that it holds {10**9} shares for the wallet, and has {10**9 - 1}" in item.text


def test_farm__pays_a_token_that_nobody_knows__is_shown_and_worth_nothing(
    devchain: DevChain, mainnet: Network, farm_code: str
) -> None:
    specs = {k: v for k, v in mainnet.tokens.items() if k != "LINK"}
    network = mainnet.model_copy(update={"tokens": specs})
    pair = mainnet.amms["uniswap_v2"].pair_address(m.USDC, m.WETH)
    farm = put_farm(devchain, farm_code, pair, mainnet.token("LINK").address)
    resolved = portfolio(network, {"lp": UNISWAP, "staked_in": farm})
    stake(devchain, pair, farm, 10**9)
    deal(devchain.rpc, Amount(mainnet.token("LINK"), 10**18), farm)
    devchain.rpc.call("anvil_mine", "0x3")
    snapshot = read_snapshot(devchain.rpc, resolved)
    reward = snapshot.holdings[0].reward
    assert reward is not None
    assert reward.token is None
    assert reward.raw > 0
    position = value(snapshot, resolved.targets).position(UNISWAP)
    assert position.lp is not None
    assert position.lp.reward_value_e8 == 0


def test_farm__of_another_pair_or_none__spoils_its_own_position_alone(
    devchain: DevChain, mainnet: Network, farm_code: str
) -> None:
    other = mainnet.amms["uniswap_v2"].pair_address(m.DAI, m.WETH)
    wrong = put_farm(devchain, farm_code, other, mainnet.token("LINK").address)
    for farm, says in ((wrong, f"stakes {other}"), (ARBITRAGEUR, "returns nothing")):
        resolved = portfolio(
            mainnet, {"lp": UNISWAP, "staked_in": farm}, {"lp": "uniswap_v2:DAI/WETH"}
        )
        snapshot = read_snapshot(devchain.rpc, resolved)
        assert [holding.pair for holding in snapshot.holdings] == [other]
        (item,) = snapshot.held_out
        assert item.name == UNISWAP
        assert says in item.text
        assert value(snapshot, resolved.targets).unread == (UNISWAP,)


def test_discovery__known_pools__one_request_and_a_line_to_paste(
    devchain: DevChain, mainnet: Network
) -> None:
    resolved = portfolio(mainnet, {"lp": UNISWAP})
    found = discover(devchain.rpc, resolved, read_block(devchain.rpc))
    assert [item.line for item in found] == ['- {lp: "uniswap_v2:DAI/WETH", target: 0%}']
    pair = mainnet.amms["uniswap_v2"].pair_address(m.DAI, m.WETH)
    shares = view(devchain.rpc, pair, "balanceOf(address)", ("uint256",), TREASURY)
    assert (found[0].pair, found[0].shares) == (pair, *shares)


def test_discovery__from_logs__finds_farms_and_what_the_file_cannot_name(
    devchain: DevChain, mainnet: Network, farm: str
) -> None:
    pair = mainnet.amms["uniswap_v2"].pair_address(m.USDC, m.WETH)
    (held,) = view(devchain.rpc, pair, "balanceOf(address)", ("uint256",), TREASURY)
    stake(devchain, pair, farm, held)
    no_dai = {symbol: spec for symbol, spec in mainnet.tokens.items() if symbol != "DAI"}
    network = mainnet.model_copy(update={"tokens": no_dai})
    resolved = portfolio(network, tokens=("WETH", "USDC"))
    head = read_block(devchain.rpc)
    named, unnamed = discover(devchain.rpc, resolved, head, since_block=1)
    assert (named.name, named.shares, named.staked, named.farm) == (UNISWAP, 0, held, farm)
    line = f'- {{lp: "{UNISWAP}", target: 0%, since_block: {devchain.lp_block}, '
    assert named.line == f'{line}staked_in: "{farm}"}}'
    assert unnamed.line is None
    assert m.DAI.address in unnamed.missing
    listed = portfolio(network, {"lp": UNISWAP, "staked_in": farm})
    assert [f.pair for f in discover(devchain.rpc, listed, head, since_block=1)] == [unnamed.pair]
    no_farm = portfolio(network, {"lp": UNISWAP})
    staked, _ = discover(devchain.rpc, no_farm, head, since_block=1)
    assert (staked.name, staked.listed) == (UNISWAP, True)
    assert staked.line == f'staked_in: "{farm}"'
    other = replace(named, farm=None)
    assert other.line == f'- {{lp: "{UNISWAP}", target: 0%, since_block: {devchain.lp_block}}}'


def test_discovery__shares_sent_to_the_farm_of_another_pair__are_not_staked(
    devchain: DevChain, mainnet: Network, farm: str, farm_code: str
) -> None:
    dai = mainnet.amms["uniswap_v2"].pair_address(m.DAI, m.WETH)
    usdc = mainnet.amms["uniswap_v2"].pair_address(m.USDC, m.WETH)
    other = put_farm(devchain, farm_code, dai, mainnet.token("LINK").address)
    stake(devchain, dai, other, 10**9)
    lost = call_of(usdc, "transfer(address,uint256)", other, 5)
    mine_block(devchain.rpc, TREASURY, [lost])
    head = read_block(devchain.rpc)
    resolved = portfolio(mainnet, tokens=("WETH", "USDC"))
    farms = {f.pair: (f.farm, f.staked) for f in discover(devchain.rpc, resolved, head, 1)}
    assert farms == {dai: (other, 10**9), usdc: (None, 0)}
