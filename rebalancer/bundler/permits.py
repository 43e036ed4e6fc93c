"""EIP-2612 permits: a signature in place of an approve transaction, so that one transaction is all.

A permit is signed for a domain that we build ourselves, from the token's name, chain and address,
and that the token must confirm: a token that showed us another one's domain would have us sign for
that one. Then the token itself is asked, by ``eth_call``, whether it takes the permit.
"""

from __future__ import annotations

from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from rebalancer.bundler.approvals import lacking
from rebalancer.bundler.head import Head
from rebalancer.bundler.signer import Signer
from rebalancer.bundler.steps import Permit
from rebalancer.evm.abi import decode_output, encode_call, from_hex, to_hex
from rebalancer.evm.rpc import Rpc, RpcError
from rebalancer.model import Amount, Plan

PERMIT_TYPEHASH = keccak(
    text="Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)
_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
#: UNI and other early tokens have no version.
_OLD_DOMAIN = "EIP712Domain(string name,uint256 chainId,address verifyingContract)"
_PERMIT = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"


def permits_for(
    rpc: Rpc, plan: Plan, executor: str, head: Head, signer: Signer
) -> tuple[Permit, ...]:
    """Permits for what the plan takes and the executor may not yet, where the token takes them.

    Exactly what is taken is permitted, until the plan's deadline.
    """
    found = []
    for amount, _ in lacking(rpc, plan, executor, head):
        permit = _permit(rpc, plan, amount, executor, head, signer)
        if permit is not None:
            found.append(permit)
    return tuple(found)


def domain_separator(rpc: Rpc, token: str, chain_id: int, head: Head) -> bytes | None:
    """The token's EIP-712 domain, where it is the one that a token of its name must have."""
    answer = _ask(rpc, token, "DOMAIN_SEPARATOR()", "bytes32", head)
    name = _ask(rpc, token, "name()", "string", head)
    if not isinstance(answer, bytes) or not isinstance(name, str):
        return None
    version = _ask(rpc, token, "version()", "string", head)
    named = keccak(text=name)
    place = (chain_id, token)
    candidates = [
        _hash(_DOMAIN, ["bytes32", "bytes32"], [named, keccak(text=text)], place)
        for text in dict.fromkeys([str(version or "1"), "1", "2"])
    ]
    candidates.append(_hash(_OLD_DOMAIN, ["bytes32"], [named], place))
    return answer if answer in candidates else None


def permit_digest(
    separator: bytes, owner: str, spender: str, amount: int, nonce: int, deadline_ts: int
) -> bytes:
    """What is signed for a permit (EIP-2612, EIP-712)."""
    types = ["bytes32", "address", "address", "uint256", "uint256", "uint256"]
    struct = encode(types, [PERMIT_TYPEHASH, owner, spender, amount, nonce, deadline_ts])
    return keccak(b"\x19\x01" + separator + keccak(struct))


def _permit(
    rpc: Rpc, plan: Plan, amount: Amount, executor: str, head: Head, signer: Signer
) -> Permit | None:
    token = amount.token.address
    separator = domain_separator(rpc, token, plan.chain_id, head)
    nonce = _ask(rpc, token, "nonces(address)", "uint256", head, plan.wallet)
    if separator is None or not isinstance(nonce, int):
        return None
    deadline_ts = plan.deadline_ts
    digest = permit_digest(separator, plan.wallet, executor, amount.raw, nonce, deadline_ts)
    v, r, s = signer.sign_digest(digest)
    words = [word.to_bytes(32, "big") for word in (r, s)]
    data = encode_call(_PERMIT, plan.wallet, executor, amount.raw, deadline_ts, v, *words)
    try:
        rpc.call("eth_call", {"from": executor, "to": token, "data": to_hex(data)}, head.at)
    except RpcError:
        return None
    return Permit(token, amount.raw, v, r, s)


def _hash(domain: str, types: list[str], values: list[bytes], place: tuple[int, str]) -> bytes:
    encoded = encode(
        ["bytes32", *types, "uint256", "address"], [keccak(text=domain), *values, *place]
    )
    return keccak(encoded)


def _ask(rpc: Rpc, to: str, signature: str, kind: str, head: Head, *args: str) -> object:
    """One answer, None where there is none of that kind."""
    request = {"to": to, "data": to_hex(encode_call(signature, *args))}
    try:
        answer = from_hex(rpc.call("eth_call", request, head.at))
        return decode_output([kind], answer)[0]
    except (RpcError, DecodingError, UnicodeDecodeError, ValueError):
        return None
