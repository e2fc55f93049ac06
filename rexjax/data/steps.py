"""The steps of cleaning: each is materialised once in the engine, counted, and refused where it leaves nothing."""

from typing import Any, NamedTuple

from rexjax.data.engines import fetch
from rexjax.errors import UserError, needs_extra

with needs_extra("data"):
    from ibis import _
    from ibis.expr.types import Table


class Step(NamedTuple):
    """A step as the data card shows it."""

    step: str
    """What it removes."""
    removed: int
    """Interactions."""
    interactions: int
    """Those left; likewise users and items."""
    users: int
    items: int


class _Reason(NamedTuple):
    """Why interactions go, over all rounds."""

    advice: str
    removed: int


class Steps:
    """Counts what each cleaning step removes and leaves."""

    def __init__(self) -> None:
        self.taken: list[Step] = []
        self._reasons: dict[str, _Reason] = {}

    def take(self, reason: str, log: Table, advice: str, round_: int = 0) -> Table:
        """``log`` as the engine has stored it after a step; the copy of the step before is dropped.

        Args:
            reason: what the step removes.
            log: columns user and item, an expression of what the step before returned.
            advice: what helps where it removes too much.
            round_: of a step that is repeated, from 1.

        Raises:
            UserError: no interaction is left; the sentence names the steps that removed them.
        """
        con = log.get_backend()
        last = con.list_tables(like="^clean_")
        log = materialise(f"clean_{len(self.taken)}_{len(last)}", log)
        for name in last:  # one copy of the log at a time
            con.drop_table(name)
        left = fetch(log.agg(interactions=_.count(), users=_.user.nunique(), items=_.item.nunique())).to_pylist()[0]
        removed = self.taken[-1].interactions - left["interactions"] if self.taken else 0
        self.taken.append(Step(f"{reason}, round {round_}" if round_ else reason, removed, **left))
        before = self._reasons.get(reason, _Reason(advice, 0))
        self._reasons[reason] = _Reason(advice, before.removed + removed)
        if not left["interactions"]:
            raise UserError(self._nothing_left())
        return log

    def keep(self, reason: str, log: Table) -> Table:
        """``log`` itself after a step that is known to remove nothing: it is neither copied nor counted again."""
        self.taken.append(self.taken[-1]._replace(step=reason, removed=0))
        return log

    def rows(self) -> list[dict[str, Any]]:
        """The steps as the data card shows them."""
        return [step._asdict() for step in self.taken]

    def _nothing_left(self) -> str:
        read = self.taken[0].interactions
        if not read:
            return f"the log is empty: nothing to learn from; {self._reasons[self.taken[0].step].advice}"
        removing = {name: reason for name, reason in self._reasons.items() if reason.removed}
        counts = ", ".join(f"{name} ({reason.removed:,})" for name, reason in removing.items())
        most = max(removing.values(), key=lambda reason: reason.removed)
        return f"cleaning removed every interaction of {read:,}, by step: {counts}: {most.advice}"


def materialise(name: str, table: Table) -> Table:
    """``table``, stored in its engine under ``name``."""
    return table.get_backend().create_table(name, table, overwrite=True)
