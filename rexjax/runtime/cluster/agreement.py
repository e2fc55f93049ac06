"""Processes that work together must be alike: one config, the same versions, clocks that agree."""

import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from rexjax.errors import UserError
from rexjax.runtime.cluster.key_value_store import Board

CLOCK_SECONDS = 60.0
"""Two clocks may differ by so much: ages of locks and of checkpoints are told by them."""
WAIT_MILLISECONDS = 24 * 3600 * 1000
"""For a process that has joined; one that dies meanwhile ends all."""
SHOWN = 3
"""At most so many differences are spelt out."""

_FACTS, _VERDICT = "rexjax/facts", "rexjax/verdict"


def reach(board: Board, index: int, facts: Mapping[str, Any]) -> None:
    """Compares ``facts`` (a name and a plain value each, that all processes must share) and clocks over all processes.

    Raises:
        UserError: on all processes alike, which of them differ in what.
    """
    board.wait_at_barrier("rexjax/agree", WAIT_MILLISECONDS)  # so that all read their clocks at about the same time
    mine = {"host": socket.gethostname(), "time": time.time(), "facts": _flat(facts)}
    board.key_value_set(f"{_FACTS}/{index}", json.dumps(mine))
    board.wait_at_barrier("rexjax/agreed", WAIT_MILLISECONDS)
    if index == 0:
        found = {int(key.rpartition("/")[2]): json.loads(value) for key, value in board.key_value_dir_get(_FACTS)}
        wrong = verdict(found)
        board.key_value_set(_VERDICT, f"no: {wrong}" if wrong else "yes")
    said = board.blocking_key_value_get(_VERDICT, WAIT_MILLISECONDS)
    if said != "yes":
        raise UserError(said.removeprefix("no: "))


def verdict(found: dict[int, dict[str, Any]]) -> str:
    """What is wrong with what the processes say of themselves (by index), in one sentence; "" if nothing is."""
    names = {index: f"process {index} on {one['host']}" for index, one in sorted(found.items())}
    keys = sorted({key for one in found.values() for key in one["facts"]})
    differing = [key for key in keys if len({json.dumps(one["facts"].get(key)) for one in found.values()}) > 1]
    if differing:
        shown = "; ".join(_spell(key, found, names) for key in differing[:SHOWN])
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        return f"the processes differ: {shown}{more}: start all of them alike, with one command and the same versions"
    fast, slow = (pick(found, key=lambda index: found[index]["time"]) for pick in (max, min))
    if (seconds := found[fast]["time"] - found[slow]["time"]) > CLOCK_SECONDS:
        return (
            f"the clock of {names[fast]} is {seconds:.0f} s ahead of that of {names[slow]}, and {CLOCK_SECONDS:.0f} s "
            "are allowed: set the clocks right (NTP)"
        )
    return ""


def _spell(key: str, found: dict[int, dict[str, Any]], names: dict[int, str]) -> str:
    """Each value with the first process that has it, and how many more do."""
    holders: dict[str, list[int]] = {}
    for index in names:
        holders.setdefault(json.dumps(found[index]["facts"].get(key)), []).append(index)
    parts = []
    for value, indices in holders.items():
        more = f" and {len(indices) - 1} more" if len(indices) > 1 else ""
        parts.append(f"{'missing' if value == 'null' else value} on {names[indices[0]]}{more}")
    return f"{key} is {', '.join(parts)}"


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in facts.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found
