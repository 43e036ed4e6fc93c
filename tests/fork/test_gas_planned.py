"""Planned gas beside what official bytecode uses: by fork, by token, and on a real block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.planner.gas_schedule import FORKS, PRAGUE
from scripts.bench import gas_planned as bench
from scripts.bench.gas_world import World, plain_world

#: Percent of what is used, for the shapes of the bench; what they are off by is in docs/planner.md.
#: Passed on from pair to pair a token is paid once and counted for both legs, as the certificate
#: of the optimal planner counts it.
OFF, OFF_PASSED_ON = 4, 6
#: networks.yaml has its figures in hundreds.
ROUNDED = 50


@pytest.fixture(scope="module")
def real_tokens(real_data: Path) -> Iterator[World]:
    with bench.token_world(real_data) as world:
        yield world


@pytest.mark.parametrize("symbol", [bench.PLAIN, *bench.CODES])
def test_every_shape_of_plan__of_every_token__is_planned_within_a_few_percent(
    real_tokens: World, symbol: str
) -> None:
    for shape, (planned, used) in bench.planned_and_used(real_tokens, symbol).items():
        off = OFF_PASSED_ON if shape == "passed_on" else OFF
        assert abs(planned - used) * 100 <= off * used, (shape, planned, used)


@pytest.mark.parametrize("symbol", ["USDC", "USDT"])
def test_as_a_plain_token__it_would_be_planned_too_cheap(real_tokens: World, symbol: str) -> None:
    sold = bench.SHAPES["sold"](real_tokens, symbol)
    used = bench.used(real_tokens, sold)
    assert PRAGUE.execution(sold) * 100 < used * 92


@pytest.mark.parametrize("symbol", [*bench.CODES])
def test_networks_yaml_has_what_comes_out(real_tokens: World, symbol: str) -> None:
    """A token without figures there is within 1,500 of a plain one in each of them."""
    schedule, token = bench.schedule_of_tokens(), real_tokens.tokens[symbol]
    found = bench.fitted(real_tokens, symbol)
    listed = {
        "touch": schedule.touch(token),
        "transfer": schedule.transfers(token),
        "approval": schedule.approval(token),
    }
    own = any(gas.address == token.address for gas in schedule.tokens)
    near = ROUNDED if own else 1_500
    assert all(abs(found[name] - listed[name]) <= near for name in found), (found, listed)


def test_a_real_block__its_tokens_and_pools(real_data: Path) -> None:
    for shape, (planned, used) in bench.real_planned_and_used(real_data).items():
        assert abs(planned - used) * 100 <= OFF * used, (shape, planned, used)


def test_what_is_simulated__is_what_a_receipt_says(real_tokens: World) -> None:
    for symbol in (bench.PLAIN, "USDC"):
        for name, shape in bench.SHAPES.items():
            legs = shape(real_tokens, symbol)
            simulated = bench.used(real_tokens, legs)
            mined = real_tokens.gas(EXECUTOR_ADDRESS, bench.encoded(legs))
            assert simulated == mined, (symbol, name)


def test_every_fork__uses_the_same(tmp_path: Path) -> None:
    """What the table says: none of its forks prices anew what a batch does."""
    found = {}
    for fork in FORKS:
        with plain_world(tmp_path, fork) as world:
            for name, shape in bench.SHAPES.items():
                if name not in ("added", "removed"):  # shares are not approved here
                    world.send(EXECUTOR_ADDRESS, bench.encoded(shape(world, bench.PLAIN)))
            found[fork] = {
                name: bench.used(world, shape(world, bench.PLAIN))
                for name, shape in bench.SHAPES.items()
                if name not in ("added", "removed")
            }
            assert str(world.rpc.call("anvil_nodeInfo")["hardFork"]).lower() == fork
    assert found["cancun"] == found["prague"] == found["osaka"]
    assert found["prague"]["bought_twice"] > 150_000
