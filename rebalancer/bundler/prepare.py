"""From a plan to signed transactions: everything is checked and simulated, then signed.

``dry_run`` needs no key and stops before the signature; ``prepare`` is ``dry_run`` and the
signature of what it simulated. There is no other way to a signed bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.bundler import checks
from rebalancer.bundler.access import suggested_access_list
from rebalancer.bundler.approvals import ApprovalPolicy
from rebalancer.bundler.calls import Call, UnsignedTransaction
from rebalancer.bundler.executor import ether_of
from rebalancer.bundler.fees import Fees, read_fees
from rebalancer.bundler.head import check_chain, read_head
from rebalancer.bundler.modes import Mode, calls_of, check_mode
from rebalancer.bundler.signer import Signer
from rebalancer.bundler.simulate import confirm, gas_limit_for, rehearse
from rebalancer.bundler.worth import check_worth
from rebalancer.errors import ConfigError, ExecutionError
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Bundle, Plan, SignedTransaction, Simulation, digest

#: 0.1 %: well inside the usual slippage limits, so that a moved market is met before the contract.
DEFAULT_TOLERANCE_PPM = 1_000


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would be signed, what the node says it would do, and the most that it can cost."""

    plan_id: str
    transactions: tuple[UnsignedTransaction, ...]
    simulation: Simulation
    fees: Fees
    max_cost_wei: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed bundle and the simulation of exactly its transactions."""

    dry_run: DryRun
    bundle: Bundle


def dry_run(
    rpc: Rpc,
    plan: Plan,
    *,
    approvals: ApprovalPolicy = "exact",
    tolerance_ppm: int = DEFAULT_TOLERANCE_PPM,
    tx_gas_cap: int | None = checks.TX_GAS_CAP,
    mode: Mode = "allowance",
    signer: Signer | None = None,
) -> DryRun:
    """Do everything that comes before the signature; sends nothing and needs no key.

    ``tolerance_ppm`` is how far the simulated amounts may be from the planned ones, ``tx_gas_cap``
    the most gas that the chain allows a transaction (None: only what its blocks allow), ``mode``
    how the wallet holds its money (``modes.py``); ``signer`` signs permits, nothing else. Raises,
    in this order: ChainMismatch, ExecutorMissing, StalePlan, NonceConflict, LimitBreached (gas
    price), MissingAllowance, SimulationReverted, SimulationMismatch, ExecutionError (too much gas),
    LimitBreached (the plan is not worth its gas any more), InsufficientGas.
    """
    check_chain(rpc, plan.chain_id)
    head = read_head(rpc)
    check_mode(rpc, mode, plan.wallet, head.at)
    checks.check_fresh(rpc, plan, head)
    value_wei = ether_of(plan.legs)
    checks.check_ether(rpc, plan.wallet, value_wei, head)
    if mode == "safe":
        # Who pays the gas, with which nonce, is not known before the owners have signed.
        calls = calls_of(rpc, plan, mode, head, approvals, None)
        rehearsal = rehearse(rpc, head, plan, calls, tolerance_ppm)
        return DryRun(digest(plan), (), rehearsal, read_fees(rpc, plan.max_fee_wei), 0)
    nonce = checks.read_nonce(rpc, plan.wallet)
    fees = read_fees(rpc, plan.max_fee_wei)

    calls = calls_of(rpc, plan, mode, head, approvals, signer)
    rehearsal = rehearse(rpc, head, plan, calls, tolerance_ppm)
    gas_limits = tuple(gas_limit_for(gas_used) for gas_used in rehearsal.gas_used)
    checks.check_gas_limits(gas_limits, head, tx_gas_cap)
    check_worth(plan, sum(rehearsal.gas_used), fees.next_price_wei)
    max_cost_wei = checks.check_purse(rpc, plan.wallet, gas_limits, fees, head, value_wei)

    transactions = _transactions(plan, calls, nonce, gas_limits, fees)
    simulation = confirm(rpc, head, plan, transactions, tolerance_ppm)
    if len(calls) == 1:
        # Behind an approval the node cannot tell what the execution will touch.
        listed = suggested_access_list(rpc, calls[0], plan.wallet, head)
        shorter = (replace(transactions[0], access_list=listed),)
        cheaper = confirm(rpc, head, plan, shorter, tolerance_ppm) if listed else simulation
        if cheaper.gas_used < simulation.gas_used:
            transactions, simulation = shorter, cheaper
    return DryRun(digest(plan), transactions, simulation, fees, max_cost_wei)


def prepare(
    rpc: Rpc,
    plan: Plan,
    signer: Signer,
    *,
    approvals: ApprovalPolicy = "exact",
    tolerance_ppm: int = DEFAULT_TOLERANCE_PPM,
    tx_gas_cap: int | None = checks.TX_GAS_CAP,
    mode: Mode = "allowance",
) -> Prepared:
    """Simulate, then sign what was simulated; sends nothing.

    Raises ConfigError when the key is not the wallet's, and what ``dry_run`` raises.
    """
    if mode == "safe":
        raise ConfigError(
            f"{plan.wallet} is a Safe: its owners sign, no single key does",
            hint="run `rebalancer propose`",
        )
    checks.check_signer(plan, signer.address)
    rehearsed = dry_run(
        rpc,
        plan,
        approvals=approvals,
        tolerance_ppm=tolerance_ppm,
        tx_gas_cap=tx_gas_cap,
        mode=mode,
        signer=signer,
    )
    bundle = Bundle(
        plan_id=rehearsed.plan_id,
        chain_id=plan.chain_id,
        wallet=plan.wallet,
        deadline_ts=plan.deadline_ts,
        transactions=tuple(sign(signer, transaction) for transaction in rehearsed.transactions),
    )
    return Prepared(rehearsed, bundle)


def sign(signer: Signer, transaction: UnsignedTransaction) -> SignedTransaction:
    """Sign, and make sure that what came back is this transaction, signed by its sender."""
    raw, tx_hash = signer.sign(transaction.as_signable())
    _check_signed(transaction, raw, tx_hash)
    return SignedTransaction(
        tx_hash=tx_hash,
        purpose=transaction.call.purpose,
        sender=transaction.sender,
        to=transaction.call.to,
        nonce=transaction.nonce,
        gas_limit=transaction.gas_limit,
        max_fee_wei=transaction.max_fee_wei,
        max_priority_fee_wei=transaction.max_priority_fee_wei,
        data=to_hex(transaction.call.data),
        raw=raw,
        value_wei=transaction.call.value_wei,
    )


def _transactions(
    plan: Plan, calls: Sequence[Call], nonce: int, gas_limits: Sequence[int], fees: Fees
) -> tuple[UnsignedTransaction, ...]:
    return tuple(
        UnsignedTransaction(
            call=call,
            chain_id=plan.chain_id,
            sender=plan.wallet,
            nonce=nonce + offset,
            gas_limit=gas_limit,
            max_fee_wei=fees.max_fee_wei,
            max_priority_fee_wei=fees.max_priority_fee_wei,
        )
        for offset, (call, gas_limit) in enumerate(zip(calls, gas_limits, strict=True))
    )


def _check_signed(transaction: UnsignedTransaction, raw: str, tx_hash: str) -> None:
    """A signer is another program, or another machine: its answer is checked like any other."""
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes

    signed = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    wanted = transaction.as_signable()
    listed = wanted.pop("accessList", ())
    same = all(_plain(signed[key]) == _plain(value) for key, value in wanted.items())
    same = same and _slots(signed["accessList"]) == _slots(listed)
    by_sender = str(Account.recover_transaction(raw)).lower() == transaction.sender.lower()
    hashed = to_hex(keccak(from_hex(raw))) == tx_hash
    if not (same and by_sender and hashed):
        raise ExecutionError(
            "the signer signed something else than it was asked to",
            hint="nothing was sent; check the signer",
        )


def _slots(access_list: Sequence[Mapping[str, Any]]) -> list[tuple[object, list[int]]]:
    """An access list in one shape: slots are hex before the signature, and numbers after it."""
    return [
        (
            _plain(entry["address"]),
            [
                int(slot, 16) if isinstance(slot, str) else int(slot)
                for slot in entry["storageKeys"]
            ],
        )
        for entry in access_list
    ]


def _plain(value: object) -> object:
    """Addresses and data as bytes, numbers as they are."""
    if isinstance(value, str):
        return from_hex(value)
    return bytes(value) if isinstance(value, (bytes, bytearray)) else value
