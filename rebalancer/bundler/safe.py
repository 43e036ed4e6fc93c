"""A Safe as the wallet: a plan becomes one proposal that its owners sign.

The approvals and the execution are bundled by MultiSend, so that all of it happens or nothing. The
Safe itself tells the hash to sign, and it must be the one that we compute (EIP-712): an interface
that shows owners one thing and has them sign another is how Safes were robbed. A Safe executes one
transaction per nonce, so proposals of the same nonce exclude each other, however often they are
sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from rebalancer.bundler.calls import Call
from rebalancer.bundler.executor import EXECUTOR
from rebalancer.errors import ConfigError, ExecutionError
from rebalancer.evm.abi import checksum, decode_output, encode_call, from_hex, to_hex, topic
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Plan, SignedTransaction

#: MultiSendCallOnly 1.3.0, at the same address on every chain that Safe supports.
MULTI_SEND = "0x40A2aCCbd92BCA938b02010E17A5b8929b49130D"
NOBODY = "0x" + "00" * 20
CALL, DELEGATE_CALL = 0, 1
#: Of Safe 1.3 and newer. Where the batch failed it is ExecutionFailure instead, perhaps with
#: status 1.
EXECUTION_SUCCESS = topic("ExecutionSuccess(bytes32,uint256)")

_DOMAIN_TYPEHASH = keccak(text="EIP712Domain(uint256 chainId,address verifyingContract)")
_SAFE_TX_TYPEHASH = keccak(
    text="SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,"
    "uint256 baseGas,uint256 gasPrice,address gasToken,address refundReceiver,uint256 nonce)"
)
_FIELDS = "(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,uint256)"
_GET_HASH = f"getTransactionHash{_FIELDS}"
_EXECUTE = (
    "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"
)


@dataclass(frozen=True, slots=True)
class SafeAccount:
    """Owners, how many of them must sign, and the nonce of the next transaction."""

    address: str
    owners: tuple[str, ...]
    threshold: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """One transaction of a Safe, with no refund of gas; ``hash`` is what its owners sign."""

    chain_id: int
    safe: str
    nonce: int
    to: str
    data: bytes
    operation: int
    hash: str
    calls: tuple[Call, ...]
    value_wei: int = 0

    def service_document(self) -> dict[str, Any]:
        """As Safe's transaction service and its SDKs have it; without sender and signature."""
        return {
            "safe": self.safe,
            "to": self.to,
            "value": str(self.value_wei),
            "data": to_hex(self.data),
            "operation": self.operation,
            "safeTxGas": "0",
            "baseGas": "0",
            "gasPrice": "0",
            "gasToken": NOBODY,
            "refundReceiver": NOBODY,
            "nonce": self.nonce,
            "contractTransactionHash": self.hash,
        }

    def builder_document(self, created_at_ms: int) -> dict[str, Any]:
        """As Safe's Transaction Builder loads it: the calls one by one."""
        return {
            "version": "1.0",
            "chainId": str(self.chain_id),
            "createdAt": created_at_ms,
            "meta": {
                "name": "rebalancer",
                "description": "; ".join(call.label for call in self.calls),
                "createdFromSafeAddress": self.safe,
            },
            "transactions": [
                {
                    "to": call.to,
                    "value": str(call.value_wei),
                    "data": to_hex(call.data),
                    "contractMethod": None,
                    "contractInputsValues": None,
                }
                for call in self.calls
            ],
        }


def read_safe(rpc: Rpc, address: str, block: str | dict[str, str] = "latest") -> SafeAccount:
    """What the Safe at ``address`` says of itself; raises ConfigError where there is none."""
    try:
        owners = _ask(rpc, address, "getOwners()", "address[]", block)
        threshold = _ask(rpc, address, "getThreshold()", "uint256", block)
        nonce = _ask(rpc, address, "nonce()", "uint256", block)
    except (RpcError, DecodingError):
        raise ConfigError(
            f"{address} is no Safe", hint="set mode: allowance or eip7702 for an account with a key"
        ) from None
    return SafeAccount(address, tuple(checksum(owner) for owner in owners), threshold, nonce)


def make_proposal(rpc: Rpc, chain_id: int, safe: SafeAccount, calls: Sequence[Call]) -> Proposal:
    """Bundle ``calls`` for the owners to sign.

    Raises ConfigError where MultiSend is missing, ExecutionError when the Safe would have another
    hash signed than we compute.
    """
    value_wei = 0  # MultiSend runs as the Safe: what its calls send is the Safe's already
    if len(calls) == 1:
        to, data, operation, value_wei = calls[0].to, calls[0].data, CALL, calls[0].value_wei
    else:
        if not from_hex(rpc.call("eth_getCode", MULTI_SEND, "latest")):
            raise ConfigError(
                f"this chain has no MultiSendCallOnly at {MULTI_SEND}",
                hint="give the executor its allowances first (approvals: never)",
            )
        to, data, operation = MULTI_SEND, encode_multi_send(calls), DELEGATE_CALL
    fields = (to, value_wei, data, operation, 0, 0, 0, NOBODY, NOBODY, safe.nonce)
    digest = safe_tx_hash(chain_id, safe.address, *fields[:4], safe.nonce)
    request = {"to": safe.address, "data": to_hex(encode_call(_GET_HASH, *fields))}
    told = from_hex(rpc.call("eth_call", request, "latest"))
    if told != digest:
        raise ExecutionError(
            f"the Safe {safe.address} would have another hash signed than this transaction's",
            hint="do not sign: the node lies, or the contract is no Safe of version 1.3 or newer",
        )
    hashed, made = to_hex(digest), tuple(calls)
    return Proposal(
        chain_id, safe.address, safe.nonce, to, data, operation, hashed, made, value_wei
    )


def encode_multi_send(calls: Sequence[Call]) -> bytes:
    """Calldata of MultiSend: per call its operation, target, value, length and data, packed."""
    packed = b"".join(
        bytes([CALL])
        + from_hex(call.to)
        + call.value_wei.to_bytes(32, "big")
        + len(call.data).to_bytes(32, "big")
        + call.data
        for call in calls
    )
    return encode_call("multiSend(bytes)", packed)


def safe_tx_hash(
    chain_id: int, safe: str, to: str, value: int, data: bytes, operation: int, nonce: int
) -> bytes:
    """The EIP-712 hash of a Safe transaction without gas refund (Safe 1.3 and newer)."""
    domain = keccak(encode(["bytes32", "uint256", "address"], [_DOMAIN_TYPEHASH, chain_id, safe]))
    types = ["bytes32", "address", "uint256", "bytes32", "uint8"] + ["uint256"] * 3
    types += ["address", "address", "uint256"]
    values = [_SAFE_TX_TYPEHASH, to, value, keccak(data), operation, 0, 0, 0, NOBODY, NOBODY, nonce]
    return keccak(b"\x19\x01" + domain + keccak(encode(types, values)))


def execution_call(proposal: Proposal, safe: SafeAccount, signatures: dict[str, bytes]) -> Call:
    """The call of the Safe that executes a proposal; ``signatures`` by owner, 65 bytes each.

    Raises ConfigError when they are of too few owners, or of somebody else.
    """
    if strangers := sorted(signatures.keys() - set(safe.owners)):
        raise ConfigError(
            f"{strangers[0]} is no owner of the Safe {safe.address}",
            hint=f"its owners are {', '.join(safe.owners)}",
        )
    if len(signatures) < safe.threshold:
        raise ConfigError(
            f"the Safe {safe.address} asks for {safe.threshold} signatures, there are"
            f" {len(signatures)}",
            hint="let the other owners sign the proposal in their Safe's interface",
        )
    # The Safe wants them in the order of the owners' addresses, as numbers.
    ordered = sorted(signatures, key=lambda owner: int(owner, 16))[: safe.threshold]
    packed = b"".join(signatures[owner] for owner in ordered)
    data = encode_call(
        _EXECUTE,
        proposal.to,
        proposal.value_wei,
        proposal.data,
        proposal.operation,
        0,
        0,
        0,
        NOBODY,
        NOBODY,
        packed,
    )
    return Call("execute", f"execute proposal {proposal.nonce}", safe.address, data)


def is_through_safe(plan: Plan, transaction: SignedTransaction) -> bool:
    """Whether a transaction lets the plan's wallet, a Safe, execute a proposal."""
    to_wallet = transaction.to.lower() == plan.wallet.lower()
    return to_wallet and transaction.sender.lower() != plan.wallet.lower()


def trader_of(plan: Plan, transaction: SignedTransaction) -> str:
    """Who trades on the pairs: what the transaction calls, or what the Safe calls by it."""
    return EXECUTOR.address if is_through_safe(plan, transaction) else transaction.to


def has_executed(safe: str, logs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a Safe says in a transaction's logs that its batch succeeded.

    Status 1 is not enough: a Safe may swallow the failure of what it executes.
    """
    return any(
        log["topics"][0].lower() == EXECUTION_SUCCESS and log["address"].lower() == safe.lower()
        for log in logs
        if log["topics"]
    )


def _ask(rpc: Rpc, to: str, signature: str, kind: str, block: str | dict[str, str]) -> Any:
    request = {"to": to, "data": to_hex(encode_call(signature))}
    return decode_output([kind], from_hex(rpc.call("eth_call", request, block)))[0]
