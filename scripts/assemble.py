"""A small assembler for the one program that is written in EVM instructions.

A line holds instructions, what follows ``;`` is a comment. ``name:`` is a place to jump to and
``@name`` pushes it; ``#name = 0x40`` names a number and ``#name`` pushes it; other numbers push
themselves in as few bytes as they take. Nothing is optimised: what stands there is what runs.
"""

from __future__ import annotations

from collections.abc import Iterator

#: Instructions by name: the EVM's own numbers, of those that the program uses. All are older than
#: any state that is read (Constantinople, 2019), PUSH0 for one is not.
OPCODES = {
    "ADD": 0x01,
    "MUL": 0x02,
    "SUB": 0x03,
    "LT": 0x10,
    "ISZERO": 0x15,
    "AND": 0x16,
    "BYTE": 0x1A,
    "SHL": 0x1B,
    "SHR": 0x1C,
    "CALLDATALOAD": 0x35,
    "CALLDATASIZE": 0x36,
    "RETURNDATASIZE": 0x3D,
    "POP": 0x50,
    "MLOAD": 0x51,
    "MSTORE": 0x52,
    "MSTORE8": 0x53,
    "JUMP": 0x56,
    "JUMPI": 0x57,
    "GAS": 0x5A,
    "RETURN": 0xF3,
    "STATICCALL": 0xFA,
    **{f"DUP{i}": 0x7F + i for i in range(1, 17)},
    **{f"SWAP{i}": 0x8F + i for i in range(1, 17)},
}
_PUSH0, _JUMPDEST = 0x5F, 0x5B


def assemble(source: str) -> bytes:
    """The program's code; raises KeyError for a name that is not known, ValueError for a bad one.

    Places are pushed in two bytes.
    """
    numbers: dict[str, int] = {}
    code, jumps, places = bytearray(), {}, {}
    for word in _words(source, numbers):
        if word.endswith(":"):
            places[word[:-1]] = len(code)
            code.append(_JUMPDEST)
        elif word.startswith("@"):
            jumps[len(code) + 1] = word[1:]
            code += bytes((_PUSH0 + 2, 0, 0))
        elif word in OPCODES:
            code.append(OPCODES[word])
        else:
            number = numbers[word] if word.startswith("#") else int(word, 0)
            size = max((number.bit_length() + 7) // 8, 1)
            code += bytes((_PUSH0 + size,)) + number.to_bytes(size, "big")
    for at, place in jumps.items():
        code[at : at + 2] = places[place].to_bytes(2, "big")
    return bytes(code)


def _words(source: str, numbers: dict[str, int]) -> Iterator[str]:
    for line in source.splitlines():
        text = line.partition(";")[0].strip()
        if text.startswith("#") and "=" in text:
            name, value = (part.strip() for part in text.split("="))
            numbers[name] = int(value.replace("_", ""), 0)
        else:
            yield from text.split()
