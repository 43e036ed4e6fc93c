"""Run the README's tour and put what it printed into the README: ``python -m scripts.readme``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BIN = Path(sys.executable).parent
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Output of one command of the tour, as a terminal shows it."""
    name, _, value = command.removeprefix("export ").partition("=")
    if command.startswith("export "):
        environment[name] = value
        return ""
    done = subprocess.run(  # noqa: S602 - the README's own commands
        command,
        shell=True,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout


def start_fork(command: str, folder: Path, environment: dict[str, str]) -> tuple[object, str]:
    """Start the fork of the tour's first terminal; its process and what it announced."""
    log = folder / "fork.txt"
    with log.open("w") as out:
        process = subprocess.Popen(  # noqa: S603
            command.split(), cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    while "Ctrl-C stops" not in log.read_text():
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.1)
    return process, log.read_text()


def tidy(text: str, folder: Path) -> str:
    """No trailing blanks, no temporary folders."""
    lines = [line.rstrip() for line in text.replace(str(folder), ".").splitlines()]
    return "\n".join(lines).strip("\n")


def main() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("REBALANCER_")}
    environment.pop("MAINNET_RPC_URL", None)
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment["XDG_STATE_HOME"] = environment["TMPDIR"] = name
        fork: list[subprocess.Popen[str]] = []

        def fill(match: re.Match[str]) -> str:
            commands = [line[2:] for line in match[1].splitlines() if line.startswith("$ ")]
            parts = []
            for command in commands:
                if " fork " in command:
                    process, output = start_fork(command, folder, environment)
                    fork.append(process)  # type: ignore[arg-type]
                else:
                    output = run(command, folder, environment)
                parts += [f"$ {command}", tidy(output, folder)]
            return "```console\n" + "\n".join(part for part in parts if part) + "\n```"

        try:
            text = BLOCK.sub(fill, README.read_text(encoding="utf-8"))
        finally:
            for process in fork:
                process.terminate()
                process.wait()
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
