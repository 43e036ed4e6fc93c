"""Compile contracts/ into the artifacts that the package ships.

``python -m scripts.compile_contracts``: contracts/*.vy goes to the bundler, contracts/devchain/*.vy
to the devchain; mocks are for tests only and are not shipped. contracts/Reader.evm, which is
written in EVM instructions, goes to the readers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import vyper  # type: ignore[import-untyped]
from vyper.compiler.input_bundle import (  # type: ignore[import-untyped]
    FileInput,
    FilesystemInputBundle,
)
from vyper.compiler.settings import Settings  # type: ignore[import-untyped]

from scripts.assemble import assemble

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = ROOT / "contracts"
OUTPUTS = {
    CONTRACTS: ROOT / "rebalancer" / "bundler" / "artifacts",
    CONTRACTS / "devchain": ROOT / "rebalancer" / "devchain" / "artifacts",
}
READER = CONTRACTS / "Reader.evm"
READER_ARTIFACT = ROOT / "rebalancer" / "readers" / "artifacts" / "Reader.json"
EVM_VERSION = "cancun"
#: Words that the constructor puts behind the runtime code, in order of declaration.
IMMUTABLES = {"Executor": (0,), "WalletExecutor": (1,)}


def compile_contract(source: Path) -> dict[str, Any]:
    """Artifact of one Vyper file: ABI, init code and deployed code, and what compiled them.

    The init code carries no hash of the sources, so that it, and with it the CREATE2 address,
    depends on what the contract does and not on its comments.
    """
    bundle = FilesystemInputBundle([CONTRACTS])
    file = bundle.load_file(source)
    if not isinstance(file, FileInput):
        raise TypeError(f"{source.name} is not Vyper source")
    output = vyper.compile_from_file_input(
        file,
        input_bundle=bundle,
        settings=Settings(evm_version=EVM_VERSION),
        output_formats=["abi", "bytecode", "bytecode_runtime"],
        no_bytecode_metadata=True,
    )
    immutables = b"".join(word.to_bytes(32, "big") for word in IMMUTABLES.get(source.stem, ()))
    return {
        "contract": source.stem,
        "compiler": f"vyper {vyper.__version__.partition('+')[0]}",
        "evm_version": EVM_VERSION,
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "runtime": output["bytecode_runtime"] + immutables.hex(),
    }


def assemble_reader() -> dict[str, Any]:
    """Artifact of the program that the readers put into their eth_calls."""
    runtime = "0x" + assemble(READER.read_text()).hex()
    return {"contract": READER.stem, "compiler": "scripts/assemble.py", "runtime": runtime}


def render(artifact: dict[str, Any]) -> str:
    """The artifact as the file holds it."""
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def main() -> None:
    for folder, output in OUTPUTS.items():
        for source in sorted(folder.glob("*.vy")):
            target = output / f"{source.stem}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(render(compile_contract(source)))
            print(f"{source.relative_to(ROOT)} -> {target.relative_to(ROOT)}")
    READER_ARTIFACT.parent.mkdir(parents=True, exist_ok=True)
    READER_ARTIFACT.write_text(render(assemble_reader()))
    print(f"{READER.relative_to(ROOT)} -> {READER_ARTIFACT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
