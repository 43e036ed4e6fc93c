"""Configuration files: what is accepted, and the one line that each mistake gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from rebalancer.config.load import find_networks, load_networks, load_portfolio
from rebalancer.errors import ConfigError
from rebalancer.model import GasReserve

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "portfolio.example.yaml").read_text()
NETWORKS = (ROOT / "networks.yaml").read_text()


def load(folder: Path, portfolio: str = EXAMPLE, networks: str = NETWORKS):  # type: ignore[no-untyped-def]
    (folder / "networks.yaml").write_text(networks)
    path = folder / "portfolio.yaml"
    path.write_text(portfolio)
    return load_portfolio(path)


def test_example__resolves(tmp_path: Path) -> None:
    resolved = load(tmp_path)
    assert [t.position for t in resolved.targets] == [
        "WETH",
        "WBTC",
        "USDC",
        "uniswap_v2:USDC/WETH",
    ]
    assert sum(t.weight_ppm for t in resolved.targets) == 1_000_000
    assert resolved.lps[0].pair == "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc"
    assert resolved.policy.band_abs_ppm == 30_000
    assert resolved.policy.min_trade_e8 == 100 * 10**8


def test_example__says_the_defaults(tmp_path: Path) -> None:
    """The example's policy is what one gets without it, so that reading it is enough."""
    start, end = EXAMPLE.index("policy:"), EXAMPLE.index("schedule:")
    assert load(tmp_path, EXAMPLE[:start] + EXAMPLE[end:]).policy == load(tmp_path).policy


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("band: 3%", "bandd: 3%", "policy.bandd: unknown key; did you mean 'band'?"),
        ("name: treasury", "nmae: treasury", "nmae: unknown key; did you mean 'name'?"),
        ("target: 40%", "target: 41%", "the targets add up to 101%, not to 100%"),
        ("token: WBTC", "token: WBTX", "mainnet has no token 'WBTX'"),
        ("0xf39F", "0xf39f", "has a wrong checksum; if you trust it, write 0xf39F"),
        ('"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"', "0x12", "wallet: "),
        ("band: 3%", "band: 3", "policy.band: 3 is not a ratio"),
        ("name: treasury", "name: treasury\nname: x", "line 3: the key 'name' is written twice"),
        ("network: mainnet", "network: mainet", "did you mean 'mainnet'?"),
        ("uniswap_v2:WETH", "uniswap:WETH", "mainnet has no amm 'uniswap'"),
        ("uniswap_v2:WETH/USDC", "uniswap_v2", "is not an LP position"),
        ("uniswap_v2:WETH/USDC", "uniswap_v2:WETH/WETH", "two different tokens"),
        ("token: WBTC", "token: WETH", "a position is listed twice"),
        ("numeraire: USD", "numeraire: EUR", "mainnet has no token 'EUR'"),
        ("numeraire: USD", "numeraire: [", "line "),
        ("{every: 5m}", "{every: 5m, cron: '* * * * *'}", "either cron or every"),
        ("{every: 5m}", "{cron: 'now and then'}", "is not a cron line"),
        ("{every: 5m}", "{cron: '0 0 31 2 *'}", "never fires: no month of these"),
        ("{every: 5m}", "{every: 0s}", "at least a second"),
        ("slippage: 0.5%", "slippage: 100%", "slippage must be below 50%"),
        ("reset: 100%", "reset: 0%", "reset must be more than 0%"),
        ("deadline: 5m", "deadline: 0s", "deadline must be at least"),
        ("max_age_blocks: 5", "max_age_blocks: true", "policy.max_age_blocks"),
        ("target: 40%", "target: 40.0001%", "the targets add up to 100.0001%, not to 100%"),
        ("approvals: exact", "approvals: unlimited", "approvals: "),
        ("name: treasury", "name: ../treasury", "name: "),
        ("{token: WETH, target: 40%}", "{token: WETH, lp: x, target: 40%}", "either a token or"),
        ("{token: WETH, target: 40%}", "{token: WETH}", "WETH has no target and is in no bucket"),
    ],
)  # fmt: skip
def test_mistake__one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in EXAMPLE
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, EXAMPLE.replace(old, new, 1))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("chain_id: 1", "chain_id: one", "mainnet.chain_id"),
        ("feed: BTC/USD", "feed: BTC/UDS", "did you mean 'BTC/USD'?"),
        ("multicall3:", "multicall:", "mainnet.multicall: unknown key; did you mean 'multicall3'?"),
        ("factory: \"0x5C69bEe7", "factory: \"0x5c69bEe7", "amms.uniswap_v2.factory"),
        ("[WETH, USDC]", "[WETH, USDX]", "'USDX' is unknown"),
        ("fee: 0.3%", "fee: 0.3", "is not a ratio"),
        ("0x6B175474E89094C44Da98b954EedeAC495271d0F", "0xdAC17F958D2ee523a2206206994597C13D831ec7",
         "mainnet.tokens.DAI: DAI has the address of USDT"),
    ],
)  # fmt: skip
def test_mistake_in_networks__one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in NETWORKS
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, networks=NETWORKS.replace(old, new, 1))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


RESERVE = 'numeraire: USD\ngas_reserve: "0.05 ETH"\n'


def test_gas_reserve__the_rest_counts_as_the_wrapped_token(tmp_path: Path) -> None:
    resolved = load(tmp_path, EXAMPLE.replace("numeraire: USD\n", RESERVE))
    assert resolved.gas_reserve == GasReserve(resolved.network.token("WETH"), 5 * 10**16)
    assert load(tmp_path).gas_reserve is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("0.05 ETH", "0.05", "gas_reserve: '0.05' is not an amount; write it like 0.05 ETH"),
        ("0.05 ETH", "5 gwei ETH", "is not an amount"),
        ("0.05 ETH", "0 ETH", "leaves nothing to pay gas with"),
        ("0.05 ETH", "0.0000000000000000001 ETH", "gas_reserve"),
        ("0.05 ETH", "0.05 POL", "gas_reserve is an amount of ETH, not of POL"),
        ("{token: WETH, target: 40%}", "{token: UNI, target: 40%}", "counts as WETH, which is no"),
    ],
)
def test_gas_reserve__mistake__one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, EXAMPLE.replace("numeraire: USD\n", RESERVE).replace(old, new, 1))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrapped_token__may_have_another_name(tmp_path: Path) -> None:
    portfolio = EXAMPLE.replace("numeraire: USD\n", RESERVE)
    named = NETWORKS.replace("{symbol: ETH,", "{symbol: ETH, wrapped: UNI,")
    with pytest.raises(ConfigError, match="counts as UNI, which is no position"):
        load(tmp_path, portfolio, named)
    with pytest.raises(ConfigError, match=r"native\.wrapped: 'UNO' is unknown"):
        load(tmp_path, portfolio, named.replace("wrapped: UNI", "wrapped: UNO"))
    lost = NETWORKS.replace("{symbol: ETH,", "{symbol: POL,")
    with pytest.raises(ConfigError, match="mainnet has no token WPOL that wraps POL; say which"):
        load(tmp_path, portfolio.replace("0.05 ETH", "0.05 POL"), lost)
    with pytest.raises(ConfigError, match="WBTC has 8 decimals, so it does not wrap ETH"):
        load(tmp_path, portfolio, named.replace("wrapped: UNI", "wrapped: WBTC"))


def test_no_file__says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_portfolio(tmp_path / "portfolio.yaml")
    assert "does not exist" in str(caught.value)
    assert "rebalancer init" in caught.value.hint


def test_not_text__one_line(tmp_path: Path) -> None:
    path = tmp_path / "portfolio.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_portfolio(path)
    path.write_text("just a word")
    with pytest.raises(ConfigError, match="expected keys and values"):
        load_portfolio(path)


def test_networks__found_in_the_project(tmp_path: Path) -> None:
    assert "mainnet" in load_networks(find_networks(tmp_path))


@pytest.mark.parametrize("text", ["? [a, b]\n: 1\n", "[" * 20_000, "a: &x [*x]"])
def test_yaml_that_is_no_configuration__one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "portfolio.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_portfolio(tmp_path / "portfolio.yaml")
    assert "\n" not in str(caught.value)


def test_numeraire_of_a_token__wants_its_own_min_trade(tmp_path: Path) -> None:
    text = EXAMPLE.replace("numeraire: USD", "numeraire: WETH")
    with_one = "".join(
        line.replace("min_trade: 100 ", "min_trade: 0.05 ") for line in text.splitlines(True)
    )
    assert load(tmp_path, with_one).policy.min_trade_e8 == 5_000_000
    without = "".join(line for line in text.splitlines(True) if "min_trade" not in line)
    with pytest.raises(ConfigError, match="min_trade is missing"):
        load(tmp_path, without)
