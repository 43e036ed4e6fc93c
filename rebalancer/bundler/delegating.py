"""EIP-7702: let the wallet's own account run the wallet executor's code, or take that back.

A delegation is a transaction of type 4 that the wallet sends to itself. Two things about it differ
from every other transaction, and both are checked here and nowhere else: the authorisation carries
the nonce *after* that of its transaction, and a wrong one is skipped without the transaction
failing. So what counts is the account's code afterwards, never the receipt's status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rebalancer.bundler import checks
from rebalancer.bundler.delegation import delegate_of
from rebalancer.bundler.deploy import send_and_await
from rebalancer.bundler.executor import WALLET_EXECUTOR, check_deployed
from rebalancer.bundler.fees import Fees, read_fees
from rebalancer.bundler.head import check_chain, read_head
from rebalancer.bundler.pace import Pace
from rebalancer.bundler.signer import Signer
from rebalancer.errors import ExecutionError
from rebalancer.evm.abi import from_hex, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import SignedTransaction

DELEGATE = "delegate"
#: "Delegate to the zero address" takes the delegation back.
NOBODY = "0x" + "00" * 20
#: 21,000, and 25,000 per authorisation, and what the delegate's code does when it is called with
#: nothing; gas that is not used is not paid.
_GAS_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Delegation:
    """What the account delegates to; None: nothing. ``tx_hash`` None: it did already."""

    wallet: str
    delegate: str | None
    tx_hash: str | None
    gas_used: int | None


def delegate(
    rpc: Rpc,
    signer: Signer,
    chain_id: int,
    max_fee_wei: int,
    pace: Pace,
    to: str = WALLET_EXECUTOR.address,
) -> Delegation:
    """Let the signer's account delegate to ``to``, unless it does; NOBODY takes it back.

    ``max_fee_wei`` is the ceiling per gas. Nothing of it needs a journal: it moves no money, and
    run again it finds what it wants. Raises ExecutorMissing, ConfigError (a contract),
    NonceConflict (other transactions are pending), LimitBreached, InsufficientGas, ExecutionError
    (it was mined, and the account's code is not what was asked for).
    """
    check_chain(rpc, chain_id)
    head = read_head(rpc)
    wanted = None if to == NOBODY else to
    if wanted == WALLET_EXECUTOR.address:
        check_deployed(rpc, head.at, WALLET_EXECUTOR)
    wallet = signer.address
    if delegate_of(rpc, wallet, head.at) == wanted:
        return Delegation(wallet, wanted, None, None)
    nonce = checks.read_nonce(rpc, wallet)
    fees = read_fees(rpc, max_fee_wei)
    checks.check_purse(rpc, wallet, (_GAS_LIMIT,), fees, head)
    transaction = _sign(signer, chain_id, nonce, fees, to)
    receipt = send_and_await(rpc, transaction, pace)
    found = delegate_of(rpc, wallet, {"blockHash": receipt["blockHash"]})
    if found != wanted:
        raise ExecutionError(
            f"transaction {transaction.tx_hash} was mined, but {wallet} delegates to"
            f" {found or 'nothing'}, not to {wanted or 'nothing'}",
            hint="another transaction of the wallet came between; run it again",
            tx_hash=transaction.tx_hash,
        )
    return Delegation(wallet, found, transaction.tx_hash, int(receipt["gasUsed"], 16))


def _sign(signer: Signer, chain_id: int, nonce: int, fees: Fees, to: str) -> SignedTransaction:
    """The transaction of type 4, signed, and read back before anybody sees it."""
    wallet = signer.address
    wanted = {
        "type": 4,
        "chainId": chain_id,
        "nonce": nonce,
        "to": wallet,
        "value": 0,
        "data": b"",
        "gas": _GAS_LIMIT,
        "maxFeePerGas": fees.max_fee_wei,
        "maxPriorityFeePerGas": fees.max_priority_fee_wei,
    }
    # By the time the authorisation is looked at, the transaction has used its own nonce.
    entry = signer.authorize(chain_id, to, nonce + 1)
    raw, tx_hash = signer.sign({**wanted, "authorizationList": [entry]})
    _check_signed(raw, wanted, to)
    return SignedTransaction(
        tx_hash=tx_hash,
        purpose=DELEGATE,
        sender=wallet,
        to=wallet,
        nonce=nonce,
        gas_limit=_GAS_LIMIT,
        max_fee_wei=fees.max_fee_wei,
        max_priority_fee_wei=fees.max_priority_fee_wei,
        data="0x",
        raw=raw,
    )


def _check_signed(raw: str, wanted: dict[str, Any], to: str) -> None:
    """A signer is another program, or another machine: its answer is checked like any other."""
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from eth_keys.datatypes import Signature
    from eth_utils.crypto import keccak
    from hexbytes import HexBytes
    from rlp import encode  # type: ignore[import-untyped]

    signed = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    numbers = ("type", "chainId", "nonce", "value", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
    same = all(int(signed[key]) == wanted[key] for key in numbers)
    same = same and to_hex(bytes(signed["to"])) == wanted["to"].lower()
    same = same and not signed["data"] and not signed["accessList"]
    same = same and str(Account.recover_transaction(raw)) == wanted["to"]
    (entry,) = signed["authorizationList"] if len(signed["authorizationList"]) == 1 else (None,)
    if same and entry is not None:
        fields = [wanted["chainId"], from_hex(to), wanted["nonce"] + 1]
        signature = Signature(vrs=(int(entry["yParity"]), int(entry["r"]), int(entry["s"])))
        digest = keccak(b"\x05" + encode(fields))
        authority = signature.recover_public_key_from_msg_hash(digest).to_checksum_address()
        same = authority == wanted["to"]
    if not same or entry is None:
        raise ExecutionError(
            "the signer signed something else than it was asked to",
            hint="nothing was sent; check the signer",
        )
