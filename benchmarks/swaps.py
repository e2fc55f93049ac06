"""Swaps under load, a third of them broken: which were refused, by what name, and what the requests saw.

    pip install 'rexjax[sign]'
    python -m benchmarks.swaps --json benchmarks/results/swaps.json

`rexjax serve --trust` answers 100 good requests a second over loopback (benchmarks/open_load.py) while exports are
published into its folder, one after the other. Two of three are good and change the version. The others are, in turn:
half copied, crashing, endless, with changed rows, with ids out of range, of an older format, with a wrong signature.
All others are signed with the right key, so that the check itself must find what is wrong with them. Beside the load, a
second client compares answers with those that the exports give outside the server.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import open_load, record, serving

RATE, SWAPS = 100.0, 200
ENDLESS_SECONDS = 60.0
"""What the server gives the check of an export here; an endless one costs as much."""
PATIENCE = 180.0
"""Seconds after which an export that is neither swapped in nor refused is a failure of the benchmark."""
STARTER = (
    "import sys; from rexjax.serving import swap; from rexjax.cli.main import main; "
    f"swap.SECONDS = {ENDLESS_SECONDS}; main(sys.argv[1:])"
)
ROWS = "rows.npy"
_CALLBACK = "xla_ffi_python_cpu_callback"


class Exports:
    """Two good exports and the broken ones that are made of the second."""

    def __init__(self, work: Path, items: int) -> None:
        """Exports and keys in ``work``."""
        self.work, self.keys = work, [_key(work / f"{name}.pem") for name in ("right", "wrong")]
        self.good = []
        for seed in (0, 1):
            (work / f"seed{seed}").mkdir()
            serving.export_bundle(work / f"seed{seed}", seed, items)
            self.good.append(work / f"seed{seed}" / "bundle")

    def publish(self, live: Path, number: int, kind: str) -> None:
        """Puts an export of a kind into ``live`` as a new one: its parts first, ``bundle.json`` last."""
        source = self.good[number % 2]
        about = json.loads((source / "bundle.json").read_text(encoding="utf-8"))
        place = live / f"parts-{kind.replace(' ', '_')}-{number}"
        shutil.copytree(source / about["place"], place)
        about |= {"place": place.name, "index": f"{number:012d}"}
        BROKEN.get(kind, leave)(place, about)
        (place / "signature").unlink(missing_ok=True)
        self._sign(place, about, self.keys[kind == "wrong signature"])
        if kind == "half copied":
            (place / ROWS).unlink()
        write_json(live / "bundle.json", about)
        for old in sorted(live.glob("parts-*"), key=lambda path: path.stat().st_mtime)[:-3]:
            shutil.rmtree(old)

    def _sign(self, place: Path, about: dict[str, Any], key: Path) -> None:
        from rexjax.artifacts.files import file_hash, json_bytes
        from rexjax.serving.signature import signer

        about["files"] = {name: file_hash(place / name) for name in about["files"]}
        (place / "signature").write_bytes(signer(key)(json_bytes(about)))


def _key(path: Path) -> Path:
    for command in (["genpkey", "-algorithm", "ed25519"], ["pkey", "-in", str(path), "-pubout"]):
        out = path if command[0] == "genpkey" else path.with_suffix(".pub")
        subprocess.run(["openssl", *command, "-out", str(out)], check=True, capture_output=True)
    return path


def write_json(path: Path, about: dict[str, Any]) -> None:
    """``bundle.json`` as the exporter writes it, put in place whole."""
    from rexjax.artifacts.files import json_bytes

    new = path.with_suffix(".new")
    new.write_bytes(json_bytes(about))
    os.replace(new, path)


def leave(place: Path, about: dict[str, Any]) -> None:
    """Nothing is wrong with it."""


def change_rows(place: Path, about: dict[str, Any]) -> None:
    """Other rows than those that the recorded answers are of."""
    rows = np.load(place / ROWS)
    np.save(place / ROWS, np.roll(rows, 1, 0))


def older_format(place: Path, about: dict[str, Any]) -> None:
    """Of a version that this one does not read."""
    about["format"] -= 1


def crash(place: Path, about: dict[str, Any]) -> None:
    """A program that calls a function which is not there in another process."""
    import jax
    from jax import export as exports

    def run(scores: Any, ids: Any) -> Any:
        call = jax.ffi.ffi_call(_CALLBACK, jax.ShapeDtypeStruct((), np.float32))
        return scores + call(np.float32(0), index=np.uint64(1 << 40)), ids

    _replace(place, run, (exports.DisabledSafetyCheck.custom_call(_CALLBACK),))


def endless(place: Path, about: dict[str, Any]) -> None:
    """A program that does not end."""
    import jax

    def run(scores: Any, ids: Any) -> Any:
        return jax.lax.while_loop(lambda found: found[0, 0] < 3e38, lambda found: found * 1.0, scores), ids

    _replace(place, run)


def out_of_range(place: Path, about: dict[str, Any]) -> None:
    """A program whose ids are those of no items."""
    _replace(place, lambda scores, ids: (scores, ids + about["rows"]))


def _replace(
    place: Path,
    change: Callable[[Any, Any], Any],
    disabled: tuple[Any, ...] = (),
) -> None:
    """Wraps the program that is asked for few answers."""
    import jax
    from jax import export as exports

    path = place / "few.program"
    before = exports.deserialize(bytearray(path.read_bytes()))
    shapes = jax.tree.unflatten(before.in_tree, [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in before.in_avals])

    def run(*asked: Any) -> Any:
        return change(*before.call(*asked))

    made = exports.export(jax.jit(run), platforms=before.platforms, disabled_checks=disabled)
    path.write_bytes(made(*shapes[0]).serialize())


BROKEN: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    "half copied": leave,
    "crashing": crash,
    "endless": endless,
    "changed rows": change_rows,
    "out of range": out_of_range,
    "older format": older_format,
    "wrong signature": leave,
}


class Client:
    """Asks the server one thing at a time."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of an answer, or the text of /metrics."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.address + path, data, timeout=30) as answer:
            content = answer.read()
        return content.decode() if path == "/metrics" else json.loads(content)

    def counted(self, outcome: str) -> int:
        """Swaps that ended so."""
        lines = self.ask("/metrics").splitlines()
        start = f'rexjax_swaps_total{{outcome="{outcome}"}} '
        return int(float(next((line.removeprefix(start) for line in lines if line.startswith(start)), "0")))


def expected_answers(folder: Path) -> dict[int, list[str]]:
    """Item ids after each of some histories of one item, as the export itself answers."""
    from rexjax.serving.bundle import Bundle
    from rexjax.serving.engine import Question, answer_all

    bundle = Bundle(folder)
    return {
        item: [bundle.item_ids[one] for one in answer_all([Question(bundle, [item], 10, [], None)])[0].ids]
        for item in range(20)
    }


def compare(client: Client, expected: list[dict[int, list[str]]], said: Counter[str], end: threading.Event) -> None:
    """Counts right, wrong and failed answers until ``end``; the number of an export is in its version."""
    for item in itertools.cycle(expected[0]):
        if end.wait(0.05):
            return
        try:
            answer = client.ask("/v1/recommend", {"history": [f"item-{item}"], "k": 10})
        except (OSError, urllib.error.HTTPError):
            said["failed"] += 1
            continue
        number = int(answer["version"]) if answer["version"].isdigit() else 0
        right = [one["id"] for one in answer["items"]] == expected[number % 2][item]
        said["right" if right else "wrong"] += 1


def swap_all(client: Client, exports: Exports, live: Path, swaps: int) -> list[dict[str, Any]]:
    """Publishes one after the other and waits for each; what came of it."""
    kinds, found = itertools.cycle(BROKEN), []
    for number in range(1, swaps + 1):
        kind = next(kinds) if number % 3 == 0 else "good"
        before, began = {name: client.counted(name) for name in ("done", "refused")}, time.monotonic()
        exports.publish(live, number, kind)
        outcome = "neither"
        while outcome == "neither" and time.monotonic() - began < PATIENCE:
            time.sleep(0.2)
            outcome = next((name for name in before if client.counted(name) > before[name]), "neither")
        why = client.ask("/readyz?verbose").get("swap", "").replace(f"{live}/", "")
        found.append({"kind": kind, "outcome": outcome, "seconds": time.monotonic() - began, "why": why})
    return found


def run(work: Path, swaps: int, items: int, rate: float) -> list[dict[str, Any]]:
    """Rows of the swaps and of the requests."""
    exports, live = Exports(work, items), work / "live"
    live.mkdir()
    exports.publish(live, 0, "good")
    flags = ["serve", str(live), "--port", "0", "--store", f"{work}/store.db", "--trust", f"{work}/right.pub"]
    with (work / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", STARTER, *flags], stdout=subprocess.PIPE, stderr=log, text=True
        )
    line = server.stdout.readline() if server.stdout else ""
    if not line.startswith("http"):
        raise SystemExit(f"the server did not start: {(work / 'log').read_text()[-2000:]}")
    client, said, end = Client(line.split(": ")[0]), Counter(), threading.Event()
    expected = [expected_answers(folder) for folder in exports.good]
    comparing = threading.Thread(target=compare, args=(client, expected, said, end))
    loading = threading.Thread(target=_load, args=(client, rate, work, end))
    comparing.start(), loading.start()
    try:
        published = swap_all(client, exports, live, swaps)
    finally:
        end.set()
        comparing.join(), loading.join()
        server.terminate()
        code = server.wait(60)
    answers = [open_load.read(path) for path in sorted(work.glob("load*.npz"))]
    return _rows(published, answers, said, code)


def _load(client: Client, rate: float, work: Path, end: threading.Event) -> None:
    """Open load in pieces of ten seconds, from a process of its own each, until ``end``."""
    port = client.address.rpartition(":")[2]
    for piece in itertools.count():
        if end.is_set():
            return
        about = port, str(rate), "10", f"{work}/load{piece:05d}.npz"
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run([sys.executable, "-m", "benchmarks.open_load", *about], check=True)


def _rows(
    published: list[dict[str, Any]], answers: list[open_load.Answers], said: Counter[str], code: int
) -> list[dict[str, Any]]:
    all_answers = open_load.Answers(*(np.concatenate(part) for part in zip(*answers, strict=True)))
    failed = all_answers.outcome != open_load.OK
    kinds = dict(Counter(all_answers.outcome[failed].tolist()))
    rows = [
        record.row("requests", "", len(failed)),
        record.row("failed requests", "", int(failed.sum()) + said["failed"], kinds=kinds),
        record.row("compared answers that were wrong", "", said["wrong"], right=said["right"]),
        all_answers.latency("while swapping"),
    ]
    for kind in ("good", *BROKEN):
        these = [one for one in published if one["kind"] == kind]
        if not these:
            continue
        wanted = "done" if kind == "good" else "refused"
        met = sum(one["outcome"] == wanted for one in these)
        seconds = sorted(one["seconds"] for one in these)[len(these) // 2]
        about = {"of": len(these), "median_seconds": seconds}
        about |= {} if kind == "good" else {"why": these[-1]["why"], "named": all(one["why"] for one in these)}
        rows.append(record.row(f"{wanted}: {kind}", "", met, **about))
    return [*rows, record.row("exit code after SIGTERM", "", code)]


def main() -> None:
    """Runs everything and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--swaps", type=int, default=SWAPS)
    parser.add_argument("--items", type=int, default=serving.ITEMS)
    parser.add_argument("--rate", type=float, default=RATE, help="good requests a second")
    parser.add_argument("--machine", default="", help="a remark on what else ran")
    flags = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    with tempfile.TemporaryDirectory() as name:
        rows = run(Path(name), flags.swaps, flags.items, flags.rate)
    for row in rows:
        print(row)
    more = {"remark": flags.machine} if flags.machine else {}
    record.write(flags.json, rows, ("jax", "numpy", "starlette", "uvicorn", "cryptography"), **more)


if __name__ == "__main__":
    main()
