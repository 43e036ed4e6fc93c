# pragma version 0.4.3
"""
@title The same batch, as the code of the wallet itself (EIP-7702)
@custom:contract-name WalletExecutor
@license MIT
@author rebalancer
@notice A wallet that delegates to this contract trades from its own
        balance: no approvals at all. Besides `execute` and `route`,
        which are in the module `batch`, there is what keeps the wallet
        as useful as it was without code: it takes ether and tokens of
        every kind, and its signatures count (ERC-1271).
@custom:security `execute` and `route` obey `msg.sender == self` alone: a
                 transaction that the wallet's key has signed. Nothing
                 here uses storage, so no delegation before or after
                 this one can be confused by it. Called as a contract
                 of its own it is useless, and holds nothing.
"""


# @dev We import the module that does the work, and take its functions
# as ours.
from modules import batch
initializes: batch
exports: (batch.execute, batch.route)


# @dev The order of secp256k1, halved: of the two signatures that are
# equivalent, the one with the higher `s` is refused (EIP-2).
HALF_ORDER: constant(uint256) = (
    57_896_044_618_658_097_711_785_492_504_343_953_926_418_782_139_537_452_191_302_581_570_759_080_747_168
)


# @dev What `isValidSignature` answers (ERC-1271).
VALID: constant(bytes4) = 0x1626ba7e
NOT_VALID: constant(bytes4) = 0xffffffff


# @dev Interfaces that are supported: ERC-165, ERC-1271 and the
# receivers of ERC-721 and ERC-1155.
INTERFACES: constant(bytes4[4]) = [0x01ffc9a7, 0x1626ba7e, 0x150b7a02, 0x4e2312e0]


# @dev What asks a receiver of ERC-721 and ERC-1155 tokens whether he
# takes them; the answer is the question's own selector.
RECEIVED: constant(bytes4[3]) = [0x150b7a02, 0xf23a6e61, 0xbc197c81]


@deploy
@payable
def __init__():
    """
    @dev The wallet pays from its own balance.
    """
    batch.__init__(True)


@external
@view
def isValidSignature(hash: bytes32, signature: Bytes[1_024]) -> bytes4:
    """
    @dev Whether the wallet's key has signed a hash (ERC-1271).
    @notice Contracts ask this of an address with code, instead of
            recovering the signer themselves; without it the wallet
            could sign no permits while it is delegated.
    @param hash The hash.
    @param signature The 65 bytes `r`, `s`, `v`.
    @return bytes4 The magic value, or something else.
    """
    if len(signature) != 65:
        return NOT_VALID
    s: uint256 = extract32(signature, 32, output_type=uint256)
    if s > HALF_ORDER:
        return NOT_VALID
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    signer: address = ecrecover(hash, v, extract32(signature, 0, output_type=uint256), s)
    # A signature that belongs to nobody recovers the zero address.
    if signer == empty(address) or signer != self:
        return NOT_VALID
    return VALID


@external
@view
def supportsInterface(interface_id: bytes4) -> bool:
    """
    @dev Whether an interface is supported (ERC-165).
    @param interface_id The interface.
    @return bool The answer.
    """
    return interface_id in INTERFACES


@external
@payable
@raw_return
def __default__() -> Bytes[32]:
    """
    @dev Takes whatever is sent, as an account without code does, and
         tells those who ask that tokens are welcome.
    @return Bytes[32] The selector to a question of `RECEIVED`, else
            nothing.
    """
    if len(msg.data) >= 4:
        selector: bytes4 = convert(slice(msg.data, 0, 4), bytes4)
        if selector in RECEIVED:
            return concat(selector, empty(bytes28))
    return b""
