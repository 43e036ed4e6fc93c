"""A wallet that runs the executor's code: one transaction, no allowance, the traps of EIP-7702."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from bundler_kit import (
    GWEI,
    MemoryJournal,
    Trade,
    allowance,
    balances,
    make_plan,
    nonce_of,
    pace,
    signer_of,
)

from rebalancer.bundler.delegating import NOBODY, delegate
from rebalancer.bundler.delegation import check_delegated, delegate_of
from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import EXECUTOR_ADDRESS, WALLET_EXECUTOR
from rebalancer.bundler.prepare import dry_run, prepare
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, WBTC, WETH
from rebalancer.errors import ConfigError, ExecutionError, ExecutorMissing
from rebalancer.evm.rpc import Rpc, RpcError

FEE = 300 * GWEI
TRADES = (
    Trade(WETH, USDC, 2 * 10**18),
    Trade(WBTC, WETH, 10**6),
    Trade(WETH, USDC),
)
TOKENS = (WETH, USDC, WBTC)


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    """The synthetic mainnet with the wallet executor on it; nobody delegates yet."""
    deploy(devchain.rpc, signer_of(), 1, FEE, pace(), WALLET_EXECUTOR)
    return devchain.rpc


@pytest.fixture
def delegated(rpc: Rpc) -> Rpc:
    delegate(rpc, signer_of(), 1, FEE, pace())
    return rpc


def test_delegate__then_revoke__changes_the_accounts_code_and_back(rpc: Rpc) -> None:
    nonce = nonce_of(rpc)

    done = delegate(rpc, signer_of(), 1, FEE, pace())

    assert done.delegate == delegate_of(rpc, TREASURY) == WALLET_EXECUTOR.address
    # The transaction used one nonce and its authorisation the next.
    assert nonce_of(rpc) == nonce + 2
    check_delegated(rpc, TREASURY)

    back = delegate(rpc, signer_of(), 1, FEE, pace(), NOBODY)

    assert back.delegate is None
    assert delegate_of(rpc, TREASURY) is None
    assert rpc.call("eth_getCode", TREASURY, "latest") == "0x"


def test_delegate__again__sends_nothing(delegated: Rpc) -> None:
    nonce = nonce_of(delegated)

    done = delegate(delegated, signer_of(), 1, FEE, pace())

    assert (done.tx_hash, done.gas_used) == (None, None)
    assert nonce_of(delegated) == nonce


def test_delegate__before_the_code_is_there__is_refused(devchain: DevChain) -> None:
    with pytest.raises(ExecutorMissing, match="no wallet executor"):
        delegate(devchain.rpc, signer_of(), 1, FEE, pace())

    assert delegate_of(devchain.rpc, TREASURY) is None


def test_delegate__authorisation_of_the_wrong_nonce__is_refused_unsent(rpc: Rpc) -> None:
    """The trap: such a transaction has status 1 and changes nothing."""

    class Careless:
        """Authorises with the transaction's own nonce, as one does for a relayer."""

        def __init__(self) -> None:
            self._signer = signer_of()
            self.address = self._signer.address

        def sign(self, transaction: Mapping[str, Any]) -> tuple[str, str]:
            return self._signer.sign(transaction)

        def authorize(self, chain_id: int, delegate: str, nonce: int) -> Mapping[str, Any]:
            return self._signer.authorize(chain_id, delegate, nonce - 1)

        def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
            return self._signer.sign_digest(digest)

    nonce = nonce_of(rpc)
    with pytest.raises(ExecutionError, match="signed something else"):
        delegate(rpc, Careless(), 1, FEE, pace())
    assert nonce_of(rpc) == nonce

    # What would have happened: mined, status 1, and no delegation.
    entry = signer_of().authorize(1, WALLET_EXECUTOR.address, nonce)
    raw, tx_hash = signer_of().sign(
        {
            "type": 4,
            "chainId": 1,
            "nonce": nonce,
            "to": TREASURY,
            "value": 0,
            "data": b"",
            "gas": 100_000,
            "maxFeePerGas": FEE,
            "maxPriorityFeePerGas": GWEI,
            "authorizationList": [entry],
        }
    )
    rpc.call("eth_sendRawTransaction", raw)
    receipt = None
    while receipt is None:
        receipt = rpc.call("eth_getTransactionReceipt", tx_hash)
    assert receipt["status"] == "0x1"
    assert delegate_of(rpc, TREASURY) is None


def test_prepare__without_a_delegation__says_how_to_get_one(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, TRADES)

    with pytest.raises(ExecutorMissing, match="delegates to nothing") as caught:
        dry_run(rpc, plan, mode="eip7702")

    assert "rebalancer delegate" in caught.value.hint


def test_prepare__delegated_to_something_else__is_refused(rpc: Rpc, mainnet: Network) -> None:
    plan = make_plan(rpc, mainnet, TRADES)
    rpc.call("anvil_setCode", TREASURY, "0xef0100" + "12" * 20)

    with pytest.raises(ExecutorMissing, match="0x1212121212121212121212121212121212121212"):
        dry_run(rpc, plan, mode="eip7702")


def test_delegate_of__a_contract__is_no_account(rpc: Rpc) -> None:
    with pytest.raises(ConfigError, match="is a contract"):
        delegate_of(rpc, WETH.address)


def test_submit__delegated__trades_to_the_wei_in_one_transaction(
    delegated: Rpc, mainnet: Network
) -> None:
    plan = make_plan(delegated, mainnet, TRADES)
    before = balances(delegated, TOKENS)
    journal = MemoryJournal()

    prepared = prepare(delegated, plan, signer_of(), mode="eip7702")
    (outcome,) = submit(delegated, journal, plan, prepared.bundle, pace())

    (transaction,) = prepared.bundle.transactions
    assert transaction.to == TREASURY
    assert outcome.status == 1
    assert len(outcome.fills) == len(plan.legs)
    assert [fill.amount_out for fill in outcome.fills] == [leg.amount_out for leg in plan.legs]
    after = balances(delegated, TOKENS)
    assert {a.token: a.raw for a in plan.net} == {
        token: after[token] - before[token] for token in TOKENS if after[token] != before[token]
    }
    assert all(allowance(delegated, token, EXECUTOR_ADDRESS) == 0 for token in TOKENS)
    components = {component.name: component.gas for component in outcome.components}
    assert sum(components.values()) == outcome.gas_used
    assert components["transfers"] > 0
    assert components["swaps"] > 0


def test_delegated_wallet__called_by_a_stranger__keeps_everything(
    delegated: Rpc, mainnet: Network
) -> None:
    from rebalancer.bundler.executor import encode_execute
    from rebalancer.evm.abi import to_hex

    plan = make_plan(delegated, mainnet, TRADES)
    data = to_hex(encode_execute(plan.legs, plan.deadline_ts))

    with pytest.raises(RpcError, match="caller is not the wallet"):
        delegated.call("eth_call", {"from": ARBITRAGEUR, "to": TREASURY, "data": data}, "latest")


def test_delegated_wallet__still_trades_by_allowance(delegated: Rpc, mainnet: Network) -> None:
    """Changing the mode back needs no revocation."""
    deploy(delegated, signer_of(), 1, FEE, pace())
    plan = make_plan(delegated, mainnet, TRADES)

    prepared = prepare(delegated, plan, signer_of(), mode="allowance")
    outcomes = submit(delegated, MemoryJournal(), plan, prepared.bundle, pace())

    assert [outcome.status for outcome in outcomes] == [1] * len(outcomes)
    assert len(outcomes[-1].fills) == len(plan.legs)


def test_prepare__one_transaction__carries_the_access_list_that_makes_it_cheaper(
    delegated: Rpc, mainnet: Network
) -> None:
    plan = make_plan(delegated, mainnet, TRADES)

    class Forgetful:
        """A node without eth_createAccessList."""

        def call(self, method: str, *params: Any) -> Any:
            if method == "eth_createAccessList":
                raise RpcError(method, -32601, "the method does not exist")
            return delegated.call(method, *params)

        def batch(self, calls: Any) -> Any:
            return delegated.batch(calls)

    with_list = prepare(delegated, plan, signer_of(), mode="eip7702").dry_run
    without = dry_run(Forgetful(), plan, mode="eip7702")

    listed = with_list.transactions[0].access_list
    assert {leg.pair.lower() for leg in plan.legs} <= {address.lower() for address, _ in listed}
    assert without.transactions[0].access_list == ()
    assert with_list.simulation.gas_used[0] < without.simulation.gas_used[0]
    assert with_list.simulation.fills == without.simulation.fills
