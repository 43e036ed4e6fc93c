"""What is to be sent, before it is signed: calls, and transactions with their nonce and fees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rebalancer.bundler.steps import Permit
from rebalancer.evm.abi import to_hex

APPROVE = "approve"
EXECUTE = "execute"
CANCEL = "cancel"


#: Addresses with the storage slots that a transaction will touch (EIP-2930).
AccessList = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a contract; ``purpose`` is for the records, ``label`` for people.

    ``value_wei`` is the ether that goes along; ``permits`` are those that an execution presents.
    """

    purpose: str
    label: str
    to: str
    data: bytes
    value_wei: int = 0
    permits: tuple[Permit, ...] = ()

    def as_request(self, sender: str) -> dict[str, Any]:
        """The call as JSON-RPC wants it, from ``sender``, with neither gas nor fees."""
        request = {"from": sender, "to": self.to, "data": to_hex(self.data)}
        return request | {"value": hex(self.value_wei)} if self.value_wei else request


@dataclass(frozen=True, slots=True)
class UnsignedTransaction:
    """An EIP-1559 transaction without its signature; moves the ether of its call."""

    call: Call
    chain_id: int
    sender: str
    nonce: int
    gas_limit: int
    max_fee_wei: int
    max_priority_fee_wei: int
    access_list: AccessList = ()

    def as_request(self) -> dict[str, Any]:
        """The transaction as JSON-RPC wants it, for a simulation of exactly this."""
        return {
            **self.call.as_request(self.sender),
            "value": hex(self.call.value_wei),
            "nonce": hex(self.nonce),
            "gas": hex(self.gas_limit),
            "maxFeePerGas": hex(self.max_fee_wei),
            "maxPriorityFeePerGas": hex(self.max_priority_fee_wei),
            **self._listed(),
        }

    def as_signable(self) -> dict[str, Any]:
        """The transaction as a ``Signer`` wants it."""
        return {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "to": self.call.to,
            "value": self.call.value_wei,
            "data": self.call.data,
            "gas": self.gas_limit,
            "maxFeePerGas": self.max_fee_wei,
            "maxPriorityFeePerGas": self.max_priority_fee_wei,
            **self._listed(),
        }

    def _listed(self) -> dict[str, Any]:
        """The access list as JSON-RPC and signers want it; nothing for an empty one."""
        if not self.access_list:
            return {}
        entries = [
            {"address": address, "storageKeys": list(slots)} for address, slots in self.access_list
        ]
        return {"accessList": entries}
