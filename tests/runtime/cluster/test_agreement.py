import threading

import pytest

from rexjax.errors import UserError
from rexjax.runtime.cluster import agreement
from rexjax.runtime.cluster.agreement import CLOCK_SECONDS
from tests.runtime.cluster.key_value_store import Board

FACTS = {"command": "run", "jax": "0.10.2", "config.seed": 0, "config.teacher.width": 64}


def processes(*changes, clocks=None) -> dict:
    """What processes on hosts a, b, … say of themselves: FACTS and each one's changes."""
    return {
        i: {"host": "abcdefgh"[i], "time": 1e9 + (clocks or [0] * 8)[i], "facts": FACTS | change}
        for i, change in enumerate(changes)
    }


@pytest.mark.parametrize(
    "found, said",
    [
        (processes({}), ""),
        (processes({}, {}, {}, clocks=[0, 59, 30]), ""),
        (
            processes({}, {"config.teacher.width": 32}),
            "the processes differ: config.teacher.width is 64 on process 0 on a, 32 on process 1 on b: start all",
        ),
        (
            processes({}, {"jax": "0.10.1"}, {}, {}),
            'jax is "0.10.2" on process 0 on a and 2 more, "0.10.1" on process 1 on b: start all',
        ),
        (processes({}, {"duckdb": "1.5"}), 'duckdb is missing on process 0 on a, "1.5" on process 1 on b'),
        (processes({}, {name: "x" for name in FACTS}), "; and 1 more: start all"),
        (
            processes({}, {}, {}, clocks=[5, 90, 0]),
            f"the clock of process 1 on b is 90 s ahead of that of process 2 on c, and {CLOCK_SECONDS:.0f} s are",
        ),
    ],
)
def test_the_verdict_names_who_has_what(found, said):
    assert said in agreement.verdict(found) and bool(said) == bool(agreement.verdict(found))


@pytest.mark.parametrize("widths, words", [((64, 64, 64), ""), ((64, 64, 32), "config.width is 64 on process 0 on")])
def test_all_processes_learn_the_same(widths, words):
    board, said = Board(len(widths)), []

    def run(index: int) -> None:
        try:
            agreement.reach(board, index, {"config": {"width": widths[index]}})
            said.append("")
        except UserError as error:
            said.append(str(error))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(widths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(said) == len(widths) and len(set(said)) == 1
    assert words in said[0] and bool(words) == bool(said[0])
