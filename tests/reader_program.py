"""What contracts/Reader.evm does, in Python: for nodes that are none, and to compare it with."""

from __future__ import annotations

from collections.abc import Callable

from rebalancer.evm.abi import to_hex


def run_program(
    data: bytes, view: Callable[[str, bytes], bytes | None], gas_for: int = 2**24
) -> bytes:
    """What contracts/Reader.evm answers, with gas for ``gas_for`` calls."""
    count, at = int.from_bytes(data[:3], "big"), 3
    statuses, rows = bytearray(), b""
    while at < len(data):
        head, width, words = data[at : at + 4], data[at + 4], data[at + 5]
        targets, args = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (6, 8))
        at += 10
        behind = at + 20 * targets
        for i in range(targets):
            target = to_hex(data[at + 20 * i : at + 20 * i + 20])
            for j in range(args if width else 1):
                arg = data[behind + j * width : behind + j * width + width]
                if len(statuses) == gas_for:
                    return bytes(statuses).ljust(count, b"\0") + rows
                answer = view(target, head + (arg.rjust(32, b"\0") if width else b""))
                size = -1 if answer is None else len(answer)
                statuses.append(1 if size < 0 else 2 + (size > 0) + (size >= 32 * words))
                rows += (answer or b"")[: 32 * words].ljust(32 * words, b"\0")
        at = behind + width * args
    return bytes(statuses).ljust(count, b"\0") + rows
