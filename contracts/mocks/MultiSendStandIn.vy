# pragma version 0.4.3
"""
@title What Safe's MultiSendCallOnly does, written anew
@license MIT
@author rebalancer
@notice Makes the calls that are packed one after the other, as whoever
        delegates to it; reverts if one of them does.
@custom:security For tests only.
"""


# @dev The most bytes of calls.
MAX_BYTES: constant(uint256) = 16_384


@external
@payable
def multiSend(transactions: Bytes[MAX_BYTES]):
    """
    @dev Makes the calls.
    @param transactions Per call: operation (one byte, zero), target (20
           bytes), value (32), length of the data (32), data.
    """
    at: uint256 = 0
    for _: uint256 in range(32):
        if at >= len(transactions):
            break
        assert slice(transactions, at, 1) == b"\x00", "multi_send: calls only"
        target: address = convert(slice(transactions, at + 1, 20), address)
        amount: uint256 = extract32(transactions, at + 21, output_type=uint256)
        size: uint256 = extract32(transactions, at + 53, output_type=uint256)
        data: Bytes[MAX_BYTES] = slice(transactions, at + 85, size)
        raw_call(target, data, value=amount)
        at += 85 + size
