"""``rebalancer init``: write the files that a person then edits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from rebalancer.cli.options import PORTFOLIO, JsonOption


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    json: JsonOption = False,
) -> None:
    """Write portfolio.yaml, networks.yaml and .env.example; never over a file that is there."""
    from rebalancer.cli.output import show, show_json
    from rebalancer.config.load import PROJECT_ROOT
    from rebalancer.errors import ConfigError

    sources = {
        PORTFOLIO.name: PROJECT_ROOT / "portfolio.example.yaml",
        "networks.yaml": PROJECT_ROOT / "networks.yaml",
        ".env.example": PROJECT_ROOT / ".env.example",
    }
    written, kept = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in sources.items():
            target = folder / name
            if target.exists():
                kept.append(str(target))
                continue
            shutil.copyfile(source, target)
            written.append(str(target))
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}", hint="name another folder"
        ) from None
    if json:
        show_json({"written": written, "kept": kept})
        return
    for path in written:
        show(f"wrote {path}")
    for path in kept:
        show(f"kept  {path} (it was there)")
    show("next: edit portfolio.yaml, then `rebalancer doctor`; `rebalancer fork` to try it")
