"""How the tables look."""

from __future__ import annotations

from rich import box
from rich.table import Table


def new_table(title: str, *columns: str, left: frozenset[str] = frozenset()) -> Table:
    """An empty table; columns are right-aligned but for those in ``left``."""
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        header_style="dim",
        show_edge=False,
        pad_edge=False,
    )
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table
