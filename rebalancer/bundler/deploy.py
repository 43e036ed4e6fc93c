"""Deploys the executor through the deterministic deployment proxy; anyone can, once per chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rebalancer.bundler import checks
from rebalancer.bundler.calls import Call, UnsignedTransaction
from rebalancer.bundler.executor import (
    CREATE2_PROXY,
    EXECUTOR,
    Contract,
    check_deployed,
    deployment_call,
)
from rebalancer.bundler.fees import read_fees
from rebalancer.bundler.follow import Pace, look_up
from rebalancer.bundler.head import Head, check_chain, read_head
from rebalancer.bundler.prepare import sign
from rebalancer.bundler.reverts import revert_of
from rebalancer.bundler.signer import Signer
from rebalancer.errors import (
    ExecutionError,
    ExecutorMissing,
    RpcUnavailable,
    SimulationReverted,
    TransactionReverted,
)
from rebalancer.evm.abi import from_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import SignedTransaction

DEPLOY = "deploy"


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the executor is; ``tx_hash`` and ``gas_used`` are None when it was there already."""

    address: str
    tx_hash: str | None
    gas_used: int | None


def deploy(
    rpc: Rpc,
    signer: Signer,
    chain_id: int,
    max_fee_wei: int,
    pace: Pace,
    of: Contract = EXECUTOR,
) -> Deployment:
    """Deploy a contract of ours, unless it stands there already, and verify its code.

    Nothing of it needs a journal: sent twice, the second one finds the address taken and reverts,
    so after a crash the way out is to run it again. ``max_fee_wei`` is the ceiling per gas. Raises
    ExecutorMissing (also when other code is there), LimitBreached, InsufficientGas,
    SimulationReverted, TransactionReverted.
    """
    check_chain(rpc, chain_id)
    head = read_head(rpc)
    if from_hex(rpc.call("eth_getCode", of.address, head.at)):
        check_deployed(rpc, head.at, of)
        return Deployment(of.address, None, None)
    transaction = _prepare(rpc, signer, chain_id, max_fee_wei, head, of)
    receipt = send_and_await(rpc, transaction, pace)
    if int(receipt["status"], 16) != 1:
        raise TransactionReverted(
            f"the deployment {transaction.tx_hash} reverted",
            hint="run it again; if it stays, look at the transaction",
            tx_hash=transaction.tx_hash,
        )
    check_deployed(rpc, {"blockHash": receipt["blockHash"]}, of)
    return Deployment(of.address, transaction.tx_hash, int(receipt["gasUsed"], 16))


def _prepare(
    rpc: Rpc, signer: Signer, chain_id: int, max_fee_wei: int, head: Head, of: Contract
) -> SignedTransaction:
    """Simulate the deployment down to the address and the code that it makes, then sign it."""
    to, data = deployment_call(of)
    if not from_hex(rpc.call("eth_getCode", CREATE2_PROXY, head.at)):
        raise ExecutorMissing(
            f"this chain has no deployment proxy at {CREATE2_PROXY}",
            hint="deploy it first: https://github.com/Arachnid/deterministic-deployment-proxy",
        )
    call = Call(DEPLOY, "deploy the executor", to, data)
    request = call.as_request(signer.address)
    nonce = checks.read_nonce(rpc, signer.address)
    fees = read_fees(rpc, max_fee_wei)
    try:
        made = from_hex(rpc.call("eth_call", request, head.at))
        gas_limit = int(rpc.call("eth_estimateGas", request), 16)
    except RpcError as error:
        raise SimulationReverted(
            f"the deployment would revert: {revert_of(error.data) or error}",
            hint="nothing was signed",
        ) from None
    if made != from_hex(of.address):
        raise SimulationReverted(
            f"the proxy at {CREATE2_PROXY} would not deploy to {of.address}",
            hint="nothing was signed; the proxy on this chain is another contract",
        )
    checks.check_gas_limits((gas_limit,), head)
    checks.check_purse(rpc, signer.address, (gas_limit,), fees, head)
    unsigned = UnsignedTransaction(
        call=call,
        chain_id=chain_id,
        sender=signer.address,
        nonce=nonce,
        gas_limit=gas_limit,
        max_fee_wei=fees.max_fee_wei,
        max_priority_fee_wei=fees.max_priority_fee_wei,
    )
    return sign(signer, unsigned)


def send_and_await(rpc: Rpc, transaction: SignedTransaction, pace: Pace) -> Any:
    """Receipt of a transaction that may be made again; a lost answer is resolved by looking it up.

    For what moves no money (deployments, delegations); plans go through ``submit``.
    """
    try:
        rpc.call("eth_sendRawTransaction", transaction.raw)
    except RpcUnavailable:
        pass  # it may have arrived
    except RpcError as error:
        if not look_up(rpc, (transaction,), read_head(rpc)).known:
            raise ExecutionError(
                f"the node refuses the {transaction.purpose} transaction: {error}",
                hint="nothing was sent; run it again when that is mended",
            ) from None
    started = pace.clock()
    while pace.clock() - started <= pace.silence_s:
        receipt: Any = rpc.call("eth_getTransactionReceipt", transaction.tx_hash)
        if receipt is not None:
            return receipt
        pace.sleep(pace.poll_s)
    raise RpcUnavailable(
        f"the {transaction.purpose} transaction {transaction.tx_hash} was not mined within"
        f" {pace.silence_s:.0f} s",
        hint="look it up, then run this again: it does nothing when there is nothing to do",
        tx_hash=transaction.tx_hash,
    )
