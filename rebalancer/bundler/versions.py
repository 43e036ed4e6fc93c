"""Another version of a transaction that is not mined: the same nonce, higher fees.

All versions of one nonce share the promise that at most one of them can ever be mined; each is
stored before it is sent. A replacement says what the first version said, for more. A cancellation
sends 0 ETH from the wallet to itself; or to nobody, where the wallet has code (EIP-7702), which
would run if the wallet called itself: with whatever that does, and for more than 21,000 gas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eth_utils.crypto import keccak

from rebalancer.bundler.calls import CANCEL, EXECUTE, Call, UnsignedTransaction
from rebalancer.bundler.fees import Fees, market_fees, raise_fees
from rebalancer.bundler.gas import INTRINSIC_GAS
from rebalancer.bundler.prepare import sign
from rebalancer.bundler.reverts import revert_of
from rebalancer.bundler.signer import Signer
from rebalancer.bundler.worth import check_worth
from rebalancer.errors import ExecutionError, LimitBreached
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Plan, SignedTransaction

#: A cancellation may offer so many times what the plan may: it is 21,000 gas, and while the nonce
#: is blocked the portfolio cannot do anything at all.
CANCEL_CEILING = 2
#: No code will ever stand here: nobody has its key, and no contract is created at it.
NOBODY = "0x" + "00" * 20


def replacement(
    rpc: Rpc, signer: Signer, plan: Plan, newest: SignedTransaction
) -> SignedTransaction | None:
    """``newest`` again with higher fees; None when they would be above what the plan allows.

    Neither is it replaced when gas at the new price costs what the plan brings: what is out there
    stays as it is then.
    """
    ceiling_wei = plan.max_fee_wei * (CANCEL_CEILING if newest.purpose == CANCEL else 1)
    fees = raise_fees(_fees(newest), market_fees(rpc), ceiling_wei)
    if fees is None:
        return None
    if newest.purpose != CANCEL:
        try:
            check_worth(plan, plan.costs.gas_units, fees.next_price_wei)
        except LimitBreached:
            return None
    return _resigned(signer, newest, fees)


def cancellation(
    rpc: Rpc, signer: Signer, plan: Plan, newest: SignedTransaction
) -> SignedTransaction | None:
    """0 ETH to an account without code in place of ``newest``; None when that is too dear."""
    fees = raise_fees(_fees(newest), market_fees(rpc), plan.max_fee_wei * CANCEL_CEILING)
    if fees is None:
        return None
    has_code = bool(from_hex(rpc.call("eth_getCode", newest.sender, "latest")))
    to = NOBODY if has_code else newest.sender
    return sign(
        signer,
        UnsignedTransaction(
            call=Call(CANCEL, f"cancel: 0 ETH to {to}", to, b""),
            chain_id=plan.chain_id,
            sender=newest.sender,
            nonce=newest.nonce,
            gas_limit=INTRINSIC_GAS,
            max_fee_wei=fees.max_fee_wei,
            max_priority_fee_wei=fees.max_priority_fee_wei,
        ),
    )


def would_revert(rpc: Rpc, transaction: SignedTransaction) -> str | None:
    """Why an execution would revert on the newest state; None when it would not, or who knows."""
    if transaction.purpose != EXECUTE:
        return None
    request = {
        "from": transaction.sender,
        "to": transaction.to,
        "data": transaction.data,
        "value": hex(transaction.value_wei),
        "gas": hex(transaction.gas_limit),
    }
    try:
        rpc.call("eth_call", request, "latest")
    except RpcError as error:
        return revert_of(error.data)
    return None


def by_nonce(transactions: Sequence[SignedTransaction]) -> list[list[SignedTransaction]]:
    """Versions by nonce, lowest first; those of one nonce keep their order."""
    slots: dict[int, list[SignedTransaction]] = {}
    for transaction in sorted(transactions, key=lambda tx: tx.nonce):
        slots.setdefault(transaction.nonce, []).append(transaction)
    return list(slots.values())


def _fees(transaction: SignedTransaction) -> Fees:
    return Fees(0, transaction.max_fee_wei, transaction.max_priority_fee_wei)


def _resigned(signer: Signer, before: SignedTransaction, fees: Fees) -> SignedTransaction:
    """The same transaction, of whatever type, with other fees; checked to be just that."""
    wanted = _unsigned_fields(before.raw)
    wanted["maxFeePerGas"] = fees.max_fee_wei
    wanted["maxPriorityFeePerGas"] = fees.max_priority_fee_wei
    raw, tx_hash = signer.sign(wanted)
    from eth_account import Account

    by_sender = str(Account.recover_transaction(raw)).lower() == before.sender.lower()
    hashed = to_hex(keccak(from_hex(raw))) == tx_hash
    if not (_unsigned_fields(raw) == wanted and by_sender and hashed):
        raise ExecutionError(
            "the signer signed something else than it was asked to",
            hint="nothing new was sent; check the signer",
            tx_hash=before.tx_hash,
        )
    return replace(
        before,
        tx_hash=tx_hash,
        raw=raw,
        max_fee_wei=fees.max_fee_wei,
        max_priority_fee_wei=fees.max_priority_fee_wei,
    )


def _unsigned_fields(raw: str) -> dict[str, Any]:
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes

    signed: dict[str, Any] = dict(TypedTransaction.from_bytes(HexBytes(raw)).as_dict())
    return {key: value for key, value in signed.items() if key not in ("v", "r", "s")}
