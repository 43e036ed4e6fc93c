"""What stands behind a decision: what waiting costs, every question asked, a recomputation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from rebalancer.model import to_plain
from rebalancer.planner.explain import Drifting, Step, told
from rebalancer.planner.verification import Finding
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import percent

_MARKS = {True: ("yes", "green"), False: ("no", "bold red"), None: ("-", "dim")}
_LEFT = frozenset({"position", "what", ""})


def waiting_view(drift: Drifting, numeraire: str) -> RenderableType:
    """What doing nothing costs, and the bands that follow from the risk aversion."""
    lines = Text("\n".join(f"  - {line}" for line in told(drift, numeraire)))
    parts: list[RenderableType] = [Text("\nDoing nothing", style="bold"), lines]
    if drift.bands:
        names = ("position", "volatility", "drifts", "trades at", "back to", "cost a year")
        table = new_table("Cheapest bands, per year", *names, left=_LEFT)
        for w in drift.bands:
            table.add_row(
                w.name,
                percent(w.volatility_ppm),
                percent(w.drift_ppm),
                f"±{percent(w.trigger_ppm)}",
                f"±{percent(w.reset_ppm)}",
                percent(w.cost_ppm),
            )
        parts.append(table)
    return Group(*parts)


def waiting_document(drift: Drifting) -> dict[str, Any]:
    """The same as plain data."""
    document: dict[str, Any] = to_plain(drift)
    return document


def why_view(steps: Sequence[Step]) -> RenderableType:
    """Every question with its answer; those after a no are answered as if it had been a yes."""
    parts: list[RenderableType] = [Text("\nWhy, or why not", style="bold")]
    refused = False
    for step in steps:
        mark, style = _MARKS[step.passed]
        after = "   (if it had come to that)" if refused and step.passed is not None else ""
        parts.append(Text.assemble((f"{mark:>4} ", style), step.question, (after, "dim")))
        parts.extend(Text(f"       {reason.text}") for reason in step.answers)
        refused = refused or step.passed is False
    return Group(*parts)


def why_document(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The same as plain data."""
    document: list[dict[str, Any]] = to_plain(tuple(steps))
    return document


def findings_view(findings: Sequence[Finding]) -> RenderableType:
    """One line for each thing that was recomputed."""
    parts = []
    for finding in findings:
        mark, style = ("ok", "green") if finding.ok else ("FAIL", "bold red")
        parts.append(Text.assemble((f"{mark:<4} ", style), f"{finding.what:<12} {finding.detail}"))
    return Group(*parts)
