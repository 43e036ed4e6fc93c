"""A Safe as the wallet, on the real Safe 1.3.0: proposed, signed by its owners, executed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bundler_kit import GWEI, Trade, allowance, balances, give, make_plan, pace, signer_of

from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS
from rebalancer.bundler.prepare import dry_run, prepare
from rebalancer.bundler.propose import Proposed, execute_proposal, propose
from rebalancer.bundler.safe import MULTI_SEND, read_safe
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, DEV_ACCOUNTS, TREASURY
from rebalancer.devchain.cheats import call_of, mine_block
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, USDT, WETH
from rebalancer.devchain.safes import install_safe
from rebalancer.errors import ConfigError, ExecutionError, SimulationReverted
from rebalancer.evm.abi import checksum, from_hex
from rebalancer.evm.rpc import Rpc

SAFE = checksum("0x5afe000000000000000000000000000000000001")
OWNERS = [account for account in DEV_ACCOUNTS if account != ARBITRAGEUR][:3]
UNIT = 10**18
TRADES = (Trade(WETH, USDC, 2 * UNIT), Trade(USDC, USDT), Trade(WETH, USDC, UNIT))
TOKENS = (WETH, USDC, USDT)


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    """A Safe of three owners, two of whom must sign, with 10 WETH."""
    rpc = devchain.rpc
    deploy(rpc, signer_of(), 1, 300 * GWEI, pace())
    install_safe(rpc, SAFE, OWNERS, 2, payer=TREASURY)
    give(rpc, WETH, 10 * UNIT, SAFE)
    return rpc


@pytest.fixture
def proposed(rpc: Rpc, mainnet: Network) -> Proposed:
    return propose(rpc, make_plan(rpc, mainnet, TRADES, wallet=SAFE))


def test_read_safe__tells_owners_threshold_and_nonce(rpc: Rpc) -> None:
    safe = read_safe(rpc, SAFE)

    assert set(safe.owners) == set(OWNERS)
    assert (safe.threshold, safe.nonce) == (2, 0)
    for nobody in (TREASURY, WETH.address):
        with pytest.raises(ConfigError, match="is no Safe"):
            read_safe(rpc, nobody)


def test_propose__hash_is_the_safes_own_and_the_documents_are_whole(proposed: Proposed) -> None:
    proposal = proposed.proposal

    service = proposal.service_document()
    assert service["contractTransactionHash"] == proposal.hash
    assert (service["to"], service["operation"], service["nonce"]) == (MULTI_SEND, 1, 0)
    builder = proposal.builder_document(1_700_000_000_000)
    assert json.loads(json.dumps(builder)) == builder
    assert [entry["to"] for entry in builder["transactions"]] == [WETH.address, EXECUTOR_ADDRESS]
    assert len(proposed.simulation.fills) == 3


def test_propose__node_that_shows_another_hash__is_not_believed(rpc: Rpc, mainnet: Network) -> None:
    class Liar:
        def call(self, method: str, *params: Any) -> Any:
            answer = rpc.call(method, *params)
            asked = params[0].get("data", "") if method == "eth_call" else ""
            return "0x" + "11" * 32 if asked.startswith("0xd8d11f78") else answer

        def batch(self, calls: Any) -> Any:
            return rpc.batch(calls)

    plan = make_plan(rpc, mainnet, TRADES, wallet=SAFE)
    with pytest.raises(ExecutionError, match="another hash"):
        propose(Liar(), plan)


def test_execute__two_of_three_owners__trades_to_the_wei_and_leaves_nothing(
    rpc: Rpc, proposed: Proposed
) -> None:
    before = balances(rpc, TOKENS, SAFE)
    owners = [signer_of(address) for address in OWNERS[1:]]

    done = execute_proposal(rpc, proposed, owners, signer_of(ARBITRAGEUR), pace())

    plan = proposed.plan
    assert [fill.amount_out for fill in done.fills] == [leg.amount_out for leg in plan.legs]
    after = balances(rpc, TOKENS, SAFE)
    assert {a.token: a.raw for a in plan.net} == {
        token: after[token] - before[token] for token in TOKENS if after[token] != before[token]
    }
    assert allowance(rpc, WETH, EXECUTOR_ADDRESS, SAFE) == 0
    assert read_safe(rpc, SAFE).nonce == 1


def test_execute__the_same_proposal_twice__is_refused_by_the_safe(
    rpc: Rpc, proposed: Proposed
) -> None:
    owners = [signer_of(address) for address in OWNERS[:2]]
    execute_proposal(rpc, proposed, owners, signer_of(ARBITRAGEUR), pace())

    with pytest.raises(SimulationReverted, match="GS026"):
        execute_proposal(rpc, proposed, owners, signer_of(ARBITRAGEUR), pace())


def test_execute__too_few_owners_or_a_stranger__is_refused_unsent(
    rpc: Rpc, proposed: Proposed
) -> None:
    sender = signer_of(ARBITRAGEUR)

    with pytest.raises(ConfigError, match="asks for 2 signatures, there are 1"):
        execute_proposal(rpc, proposed, [signer_of(OWNERS[0])], sender, pace())
    with pytest.raises(ConfigError, match="is no owner"):
        execute_proposal(rpc, proposed, [signer_of(OWNERS[0]), sender], sender, pace())
    assert read_safe(rpc, SAFE).nonce == 0


def test_execute__market_moved_away__all_or_nothing(
    rpc: Rpc, mainnet: Network, proposed: Proposed
) -> None:
    from bundler_kit import trade_against

    trade_against(rpc, mainnet, WETH, USDC, 500 * UNIT)
    before = balances(rpc, TOKENS, SAFE)

    with pytest.raises(SimulationReverted):
        execute_proposal(
            rpc, proposed, [signer_of(a) for a in OWNERS[:2]], signer_of(ARBITRAGEUR), pace()
        )

    assert balances(rpc, TOKENS, SAFE) == before


def test_dry_run__of_a_safe__simulates_and_prepare_says_who_signs(
    rpc: Rpc, mainnet: Network
) -> None:
    plan = make_plan(rpc, mainnet, TRADES, wallet=SAFE)

    shown = dry_run(rpc, plan, mode="safe")

    assert shown.transactions == ()
    assert len(shown.simulation.fills) == 3
    with pytest.raises(ConfigError, match="its owners sign"):
        prepare(rpc, plan, signer_of(), mode="safe")


def test_propose__allowances_standing__needs_no_multi_send(rpc: Rpc, mainnet: Network) -> None:
    approve = call_of(WETH.address, "approve(address,uint256)", EXECUTOR_ADDRESS, 3 * UNIT)
    rpc.call("anvil_setBalance", SAFE, hex(UNIT))
    mine_block(rpc, SAFE, [approve])
    rpc.call("anvil_setCode", MULTI_SEND, "0x")

    proposal = propose(rpc, make_plan(rpc, mainnet, TRADES, wallet=SAFE)).proposal

    assert (proposal.to, proposal.operation) == (EXECUTOR_ADDRESS, 0)
    assert from_hex(proposal.hash)
