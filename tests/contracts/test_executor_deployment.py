"""The executor lands where the package says, on any chain, by anybody's hand."""

from __future__ import annotations

import ape
import pytest
from executor_world import UNIT, World

from rebalancer.bundler.executor import (
    EXECUTOR_ADDRESS,
    check_deployed,
    deployment_call,
    init_code,
    runtime_code,
)
from rebalancer.errors import ExecutorMissing
from rebalancer.evm.abi import to_hex


def test_deployment__through_the_proxy__lands_on_the_address_with_the_code(world: World) -> None:
    assert world.executor.address == EXECUTOR_ADDRESS
    assert bytes(ape.chain.provider.get_code(EXECUTOR_ADDRESS)) == runtime_code()
    check_deployed(world.rpc)


def test_deployment__by_anybody__lands_on_the_same_address(world: World) -> None:
    ape.chain.provider.set_code(EXECUTOR_ADDRESS, "0x")
    world.rpc.call("anvil_setNonce", EXECUTOR_ADDRESS, "0x0")
    to, data = deployment_call()

    world.mallory.transfer(to, 0, data=data)

    check_deployed(world.rpc)
    pool = world.pools[0, 1]
    world.execute(pool.leg(pool.a, UNIT, pool.quote(pool.a, UNIT)))


def test_deployment__a_second_time__reverts_and_changes_nothing(world: World) -> None:
    to, data = deployment_call()

    request = {"from": world.mallory.address, "to": to, "data": to_hex(data)}
    assert world.fails_on_chain(request)

    check_deployed(world.rpc)


def test_check_deployed__before_deployment__says_how_to_deploy(world: World) -> None:
    ape.chain.provider.set_code(EXECUTOR_ADDRESS, "0x")

    with pytest.raises(ExecutorMissing, match="there is no executor") as caught:
        check_deployed(world.rpc)

    assert caught.value.hint == "run `rebalancer deploy --execute`"


def test_check_deployed__other_code_at_the_address__is_not_taken_for_it(world: World) -> None:
    ape.chain.provider.set_code(EXECUTOR_ADDRESS, runtime_code()[:-1] + b"\x01")

    with pytest.raises(ExecutorMissing, match="is not that of the executor"):
        check_deployed(world.rpc)


def test_init_code__fits_the_limits_of_the_chain() -> None:
    assert len(init_code()) < 49_152
    assert len(runtime_code()) < 24_576


def test_executor__has_no_storage(world: World) -> None:
    pool = world.pools[0, 1]
    receipt = world.execute(pool.leg(pool.a, UNIT))
    trace = world.rpc.call(
        "debug_traceTransaction",
        receipt.txn_hash,
        {"tracer": "prestateTracer", "tracerConfig": {"diffMode": False}},
    )

    assert "storage" not in trace[EXECUTOR_ADDRESS.lower()]
