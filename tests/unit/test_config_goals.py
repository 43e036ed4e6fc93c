"""Buckets, multipliers, farms and targets on exposures, as portfolio files say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rebalancer.config.load import load_portfolio
from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError
from rebalancer.model import PPM, Goal, Scheme, Target

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
name: t
network: mainnet
wallet: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
"""
PLAIN = """
positions:
  - {token: WETH, target: 60%}
  - {token: USDC, target: 20%, band: 2%}
  - {lp: "uniswap_v2:WETH/USDC", target: 20%}
"""
BUCKETS = """
buckets:
  stables: [USDC, DAI, "sushiswap:USDT/USDC"]
  eth: [WETH]
positions:
  - {bucket: stables, target: 40%, band: 2%, band_relative: 10%}
  - {lp: "sushiswap:USDT/USDC", since_block: 5}
  - {bucket: eth, target: 50%}
  - {token: WBTC, target: 10%}
"""
EXPOSURES = """
targets_on: exposures
buckets: {eth: [WETH, UNI]}
positions:
  - {bucket: eth, target: 60%}
  - {token: UNI, multiplier: 2.5}
  - {token: USDC, target: 40%}
  - lp: "uniswap_v2:WETH/USDC"
    staked_in: "0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f"
"""


def load(folder: Path, text: str) -> ResolvedPortfolio:
    path = folder / "portfolio.yaml"
    path.write_text(HEAD + text)
    return load_portfolio(path, ROOT / "networks.yaml")


def test_plain__is_as_it_was(tmp_path: Path) -> None:
    resolved = load(tmp_path, PLAIN)
    assert resolved.is_plain
    assert resolved.targets == (
        Target("WETH", 600_000),
        Target("USDC", 200_000, 20_000),
        Target("uniswap_v2:USDC/WETH", 200_000),
    )


def test_buckets__members_are_positions_and_share_a_goal(tmp_path: Path) -> None:
    resolved = load(tmp_path, BUCKETS)
    lp = "sushiswap:USDC/USDT"
    assert not resolved.is_plain
    assert resolved.scheme == Scheme(
        on="positions",
        positions=("USDC", "DAI", lp, "WETH", "WBTC"),
        goals=(
            Goal("stables", 400_000, ("USDC", "DAI", lp), 20_000, 100_000),
            Goal("eth", 500_000, ("WETH",)),
            Goal("WBTC", 100_000, ("WBTC",)),
        ),
    )
    assert [goal.bucket for goal in resolved.scheme.goals] == ["stables", "eth", None]
    assert [token.symbol for token in resolved.tokens] == ["USDC", "DAI", "WETH", "WBTC"]
    (spec,) = resolved.lps
    assert (spec.name, spec.since_block, spec.entry_block) == (lp, 5, None)
    assert sum(target.weight_ppm for target in resolved.targets) == PPM


def test_exposures__multipliers_and_farms(tmp_path: Path) -> None:
    resolved = load(tmp_path, EXPOSURES)
    assert resolved.scheme.on == "exposures"
    assert resolved.scheme.multiplier_ppm("UNI") == 2_500_000
    assert resolved.scheme.multiplier_ppm("WETH") == PPM
    assert resolved.scheme.positions == ("WETH", "UNI", "USDC", "uniswap_v2:USDC/WETH")
    assert resolved.lps[0].staked_in == "0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f"


@pytest.mark.parametrize(
    ("text", "old", "new", "says"),
    [
        (PLAIN, "{token: WETH, target: 60%}", "{token: WETH}", "WETH has no target and is in no"),
        (PLAIN, "token: WETH", "token: WETH, bucket: x", "either a token or an lp, or names a bu"),
        (PLAIN, "token: WETH", "token: WETH, staked_in: '0x'", "staked_in: '0x' is not an address"),
        (PLAIN, "token: WETH", "token: WETH, since_block: 7", "since_block belongs to an lp"),
        (PLAIN, "WETH/USDC\"", "WETH/USDC\", since_block: 0", "since_block: "),
        (PLAIN, "WETH/USDC\"", "WETH/USDC\", since_block: 1, entry_block: 1", "not both"),
        (PLAIN, "WETH/USDC\"", "WETH/USDC\", multiplier: 2", "multiplier belongs to a token"),
        (PLAIN, "token: WETH", "token: WETH, multiplier: 0", "not between 0.1 and 10"),
        (PLAIN, "token: WETH", "token: WETH, multiplier: much", "is not a multiplier"),
        (PLAIN, "token: WETH", "bucket: eth", "there is no bucket 'eth'; list its members"),
        (PLAIN, "positions:", "buckets: {eth: [WETH]}\npositions:", "'eth' has no target among"),
        (PLAIN, "positions:", "targets_on: exposures\npositions:", "is looked through"),
        (PLAIN, "positions:", "targets_on: moods\npositions:", "targets_on: "),
        (BUCKETS, "[USDC, DAI,", "[USDC, USDC,", "USDC is in a bucket twice"),
        (BUCKETS, "eth: [WETH]", "eth: [WETH, DAI]", "DAI is in a bucket twice"),
        (BUCKETS, "eth: [WETH]", "eth: []", "buckets.eth"),
        (BUCKETS, "eth: [WETH]", "eth: [WETX]", "mainnet has no token 'WETX'"),
        (BUCKETS, "eth: [WETH]", "eth: ['uniswap_v2:WETH']", "is not an LP position"),
        (BUCKETS, "eth: [WETH]", "eth: [WETH, WBTC]", "WBTC is in a bucket and cannot have its o"),
        (BUCKETS, "since_block: 5", "band: 1%", "has a band but no target"),
        (BUCKETS, "40%", "41%", "add up to 101%"),
        (BUCKETS, "eth", "UNI", "the bucket 'UNI' has the name of a token"),
        (BUCKETS, "DAI, ", "DAI, \"sushiswap:USDC/USDT\", ", "a position is listed twice"),
        (EXPOSURES, "[WETH, UNI]", "[WETH, 'uniswap_v2:UNI/WETH', UNI]", "a bucket of exposures h"),
        (EXPOSURES, "WETH/USDC", "WETH/DAI", "gives exposure to DAI, which has no target"),
    ],
)  # fmt: skip
def test_mistake__one_line(tmp_path: Path, text: str, old: str, new: str, says: str) -> None:
    assert old in text
    changed = text.replace(old, new) if old == "eth" else text.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, changed)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
