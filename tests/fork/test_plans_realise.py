"""Every plan executes on official bytecode and realises exactly what it says: hundreds of them.

REBALANCER_CASES=5000 tries more of them than the suite does.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import random_markets as world

from rebalancer.bundler.executor import EXECUTOR, encode_execute, ether_of
from rebalancer.bundler.fills import decode_fills
from rebalancer.devchain import synthetic
from rebalancer.devchain.anvil import start_anvil
from rebalancer.errors import PlanError
from rebalancer.evm.rpc import Rpc
from rebalancer.model import BlockRef, Rebalance, to_json
from rebalancer.planner import PRAGUE, replay
from rebalancer.planner.optimal.verify import verify as verify_certificate
from rebalancer.planner.verification import verify

CHUNKS = 4
CASES = int(os.environ.get("REBALANCER_CASES", "240")) // CHUNKS
BLOCK_S = 12


@pytest.fixture(scope="module")
def rpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rpc]:
    with start_anvil(synthetic.OPTIONS, log_dir=tmp_path_factory.mktemp("anvil")) as anvil:
        anvil.rpc.call("anvil_setBlockTimestampInterval", BLOCK_S)
        world.build(anvil.rpc)
        yield anvil.rpc


def head(rpc: Rpc, base_fee_wei: int) -> BlockRef:
    block = rpc.call("eth_getBlockByNumber", "latest", False)
    number, timestamp = int(block["number"], 16), int(block["timestamp"], 16)
    return BlockRef(1, number, block["hash"], timestamp, base_fee_wei)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_plan_realises_what_it_says(rpc: Rpc, chunk: int) -> None:
    kinds: Counter[str] = Counter()
    for number in range(CASES):
        random = Random(chunk * 1_000_003 + number)  # noqa: S311
        kinds += one(rpc, random)
    assert kinds["plans"] * 2 > CASES, kinds
    if CASES >= 50:
        asked = ("swap", "add", "remove", "unwrap", "chained", "certificate")
        assert min(kinds[kind] for kind in asked) > 0, kinds


def one(rpc: Rpc, random: Random) -> Counter[str]:
    """One market: planned, executed, and compared to the wei; what the plan was made of."""
    case = world.make(random, head(rpc, random.randint(1, 30) * 10**9))
    inputs = case.inputs
    try:
        _, decision = inputs.decide()
    except PlanError as error:  # there is nothing, or less than is to be raised
        if "worth" not in str(error):
            raise
        return Counter()
    if not isinstance(decision, Rebalance):
        return Counter(holds=1)
    plan = decision.plan
    findings = verify(to_json(decision), inputs)
    assert all(finding.ok for finding in findings), findings

    world.write(rpc, case.snapshot)
    delegated = plan.wallet == world.DELEGATED
    to = plan.wallet if delegated else EXECUTOR.address
    data = encode_execute(plan.legs, plan.deadline_ts, as_wallet=delegated)
    value_wei = 0 if delegated else ether_of(plan.legs)
    receipt = world.sent(rpc, plan.wallet, to, data, value_wei)
    assert receipt["status"] == "0x1", (plan.legs, receipt)

    done = replay(case.snapshot, plan.legs)
    assert world.read(rpc, case.snapshot) == world.expected(done)
    gas_wei = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert int(rpc.call("eth_getBalance", plan.wallet, "latest"), 16) == done.native_wei - gas_wei
    fills = decode_fills(plan, receipt["logs"], to)
    for leg, fill in zip(plan.legs, fills, strict=True):
        assert fill.pays == leg.pays
        if leg.kind != "swap":
            assert fill.takes == leg.takes
        else:
            assert (fill.token_in, fill.amount_in) == (leg.token_in, leg.amount_in)
    if not delegated:
        approvals = PRAGUE.per_approval * len(plan.sold())
        used, estimate = int(receipt["gasUsed"], 16), plan.costs.gas_units - approvals
        assert abs(used - estimate) * 100 < 12 * used, (used, estimate, plan.legs)
    if plan.certificate is not None:
        refuses_what_was_changed(plan.certificate, random)
    kinds = Counter(leg.kind for leg in plan.legs)
    kinds["chained"] = sum(getattr(leg, "chained", False) for leg in plan.legs)
    return kinds + Counter(plans=1, certificate=plan.certificate is not None)


def refuses_what_was_changed(certificate: str, random: Random) -> None:
    """A number somewhere in it, one more or less, and it is no certificate any more."""
    verify_certificate(certificate)
    claim: Any = json.loads(certificate)
    places = list(_numbers(claim))
    holder, key = random.choice(places)
    holder[key] += random.choice((-1, 1))
    text = json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    with pytest.raises(PlanError):
        verify_certificate(text)


def _numbers(inside: Any) -> Iterator[tuple[Any, Any]]:
    items = inside.items() if isinstance(inside, dict) else enumerate(inside)
    for key, item in items:
        if isinstance(item, (dict, list)):
            yield from _numbers(item)
        elif type(item) is int:
            yield inside, key
