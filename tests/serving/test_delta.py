import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from rexjax.artifacts import lock
from rexjax.artifacts.files import json_bytes, read_json, write_json
from rexjax.errors import UserError
from rexjax.serving import delta, delta_folder, parts
from rexjax.serving.bundle import Bundle
from tests.cli.runs import main, refused

N, W = 400, 16


class Catalogue:
    """What a small export is made of."""

    def __init__(self, items: int = N, rows: int = 416, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.rows = rng.integers(-127, 128, (rows, W)).astype(np.int8)
        self.scales, self.head = rng.random((rows, 1)).astype(np.float32), rng.random((W, W)).astype(np.float32)
        self.names, self.counts = [f"item {i}" for i in range(items)], rng.integers(0, 50, items)
        self.categories = False
        self.program = b"program"

    def write(self, folder: Path, sign=None) -> dict:
        with lock.of(folder) as owner:
            return parts.publish(folder, "x", self._write, owner, sign)

    def _write(self, place: Path) -> dict:
        np.save(place / "rows.npy", self.rows)
        weights = {"items/scales": self.scales, "head": self.head, "bias": np.ones((), np.float32)}
        safetensors.numpy.save_file(weights, place / "weights.safetensors", metadata={"rows": "items/values"})
        table = {"item_id": self.names, "title": [f"The {name}" for name in self.names]}
        table["share"] = self.counts / self.counts.sum()
        table |= {"category": ["mugs"] * len(self.names)} if self.categories else {}
        pq.write_table(pa.table(table), place / "items.parquet")
        (place / "few.program").write_bytes(self.program)
        return {"format": 5, "index": "0123456789abcdef", "items": len(self.names)}


def change_nothing(new):
    pass


def change_rows(new):
    new.rows[[3, 77]] += 1
    new.scales[77] = 2


def change_heads(new):
    new.head += 1


def change_counts(new):
    new.counts[:5] += 7


def rename(new):
    new.names[3] = "another"


def add_items(new):
    new.names += ["new 0", "new 1"]
    new.rows[N : N + 2] = 5
    new.counts = np.append(new.counts, [1, 0])


def need_more_room(new):
    new.rows, new.scales = np.pad(new.rows, ((0, 32), (0, 0))), np.pad(new.scales, ((0, 32), (0, 0)))
    new.rows[430] = 1


def lose_items(new):
    new.rows, new.scales, new.names, new.counts = new.rows[:300], new.scales[:300], new.names[:290], new.counts[:290]


def another_program(new):
    new.program = b"other"


def know_categories(new):
    new.categories = True


def change_the_width(new):
    new.rows = new.rows[:, :8]


CHANGES = [
    change_nothing,
    change_rows,
    change_heads,
    change_counts,
    rename,
    add_items,
    need_more_room,
    lose_items,
    another_program,
    know_categories,
    change_the_width,
]


def two(tmp_path, *changes, sign=None):
    """The folders of an export and of the next one, and a delta between them."""
    folders = tmp_path / "old", tmp_path / "new"
    for folder, these in zip(folders, ((), changes), strict=True):
        catalogue = Catalogue()
        for change in these:
            change(catalogue)
        folder.mkdir()
        catalogue.write(folder, sign)
    delta_folder.make(*folders, tmp_path / "delta")
    return *folders, tmp_path / "delta"


def contents(folder: Path) -> dict[str, bytes]:
    """All that the export in ``folder`` says and holds, checked."""
    found = parts.reading(folder, lambda export: export)
    place = folder / found.about["place"]
    signature = {path.name: path.read_bytes() for path in place.glob(parts.SIGNATURE)}
    return {name: content.tobytes() for name, content in found.files.items()} | {"": found.manifest} | signature


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_applied_is_the_new_export_byte_for_byte(tmp_path, change):
    old, new, found = two(tmp_path, change, sign=lambda manifest: b"signed " + manifest[:9])
    before = contents(old)
    delta_folder.apply(old, found)
    assert contents(old) == contents(new) and contents(old)[""] != before[""]
    delta_folder.roll_back(old)
    assert contents(old) == before
    delta_folder.apply(old, found)
    delta_folder.apply(old, found)  # once more changes nothing
    assert contents(old) == contents(new)


def test_only_what_changed_is_told(tmp_path):
    old, new, found = two(tmp_path, change_rows, change_counts)
    files = (parts.reading(folder, lambda export: export.files) for folder in (old, new))
    told = delta.difference(*files)
    assert told["rows.npy:rows/ids"].tolist() == [3, 77] and told["rows.npy:rows/rows"].shape == (2, W)
    assert told["weights.safetensors:items/scales/ids"].tolist() == [77]
    assert told["items.parquet:ids"].size == 0  # names are as before
    assert told["items.parquet:residual"].nbytes < N  # of 8 N bytes of shares
    assert {name.partition(":")[0] for name in told} == {"rows.npy", "weights.safetensors", "items.parquet"}
    about = read_json(found / "manifest.json")
    assert about["changed"]["rows.npy:rows/ids"] == 2 and about["bytes"]["delta"] < about["bytes"]["whole"] / 3


def test_a_delta_between_models_holds_no_programs_and_answers_as_the_new_one(exported, another, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "old")
    delta_folder.make(folder, another, tmp_path / "delta")
    told = delta_folder.read(tmp_path / "delta").changes
    assert [name for name in told if ".program" in name] == []  # of one shape, they are the same
    delta_folder.apply(folder, tmp_path / "delta")
    assert contents(folder) == contents(another) and Bundle(folder).version == Bundle(another).version


def another_parent(old, new, found):
    Catalogue(seed=1).write(old)


def nothing_there(old, new, found):
    shutil.rmtree(old)
    old.mkdir()


def spoil(name):
    def act(old, new, found):
        (found / name).write_bytes(b"?" + (found / name).read_bytes()[1:])

    return act


def lose_manifest(old, new, found):
    (found / "manifest.json").unlink()


def another_format(old, new, found):
    write_json(found / "manifest.json", read_json(found / "manifest.json") | {"delta": 99})


def damage_the_old(old, new, found):
    (old / read_json(old / "bundle.json")["place"] / "rows.npy").write_bytes(b"?")


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (another_parent, "is a delta for the export .* holds .*: apply deltas in the order of their exports"),
        (nothing_there, "holds no export: copy the whole export"),
        (spoil("changes.safetensors"), "changes.safetensors is missing or damaged: copy the delta again"),
        (spoil("bundle.json"), "bundle.json is missing or damaged: copy the delta again"),
        (lose_manifest, "is no finished delta"),
        (another_format, "is a delta of format 99, and this version reads 1"),
        (damage_the_old, "rows.npy is missing or damaged"),
    ],
)
def test_a_delta_that_does_not_fit_is_refused_and_changes_nothing(tmp_path, act, why):
    old, new, found = two(tmp_path, change_rows)
    act(old, new, found)
    before = parts.read_manifest(old)
    with pytest.raises(UserError, match=why):
        delta_folder.apply(old, found)
    assert parts.read_manifest(old) == before and not list(old.glob("parts-*/started.json"))


def test_bytes_that_become_another_file_are_refused(tmp_path):
    old, new, found = two(tmp_path, change_rows)
    files, (told, hashes) = parts.reading(old, lambda export: export.files), _told(found)
    told["rows.npy:rows/rows"] = told["rows.npy:rows/rows"] + np.uint8(1)
    with pytest.raises(UserError, match=r"another rows\.npy than the new export has"):
        delta.patch(files, told, hashes)


def _told(found: Path):
    read = delta_folder.read(found)
    return dict(read.changes), delta_folder.parse_json(read.manifest)["files"]


def test_a_delta_needs_two_exports_and_a_folder_of_its_own(tmp_path):
    old, new, found = two(tmp_path, change_rows)
    with pytest.raises(UserError, match="hold the same export"):
        delta_folder.make(new, new, tmp_path / "other")
    assert delta_folder.make(old, new, found) == read_json(found / "manifest.json")  # once more changes nothing
    with pytest.raises(UserError, match="holds another delta or something else"):
        delta_folder.make(new, old, found)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match="which rexjax did not make"):
        delta_folder.make(old, new, tmp_path / "mine")


class Killed(BaseException):
    """The process ends here."""


def test_an_apply_that_is_cut_off_leaves_the_old_export_and_the_same_call_ends_it(tmp_path, monkeypatch):
    old, new, found = two(tmp_path, change_rows, add_items)
    before, write = contents(old), Path.write_bytes
    for moment in range(1, 20):
        left = moment

        def die(path, content):
            nonlocal left
            left -= 1
            if left == 0:
                write(path, content[: len(content) // 2])
                raise Killed
            return write(path, content)

        folder = shutil.copytree(old, tmp_path / f"copy {moment}")
        monkeypatch.setattr(Path, "write_bytes", die)
        try:
            delta_folder.apply(folder, found)
            break
        except Killed:
            monkeypatch.undo()
        assert contents(folder) == before
        delta_folder.apply(folder, found)
        assert contents(folder) == contents(new)
    assert 7 < moment < 19


def test_a_version_that_was_taken_back_goes_with_the_next_export(tmp_path):
    old, new, found = two(tmp_path, change_rows)
    delta_folder.apply(old, found)
    delta_folder.roll_back(old)
    with pytest.raises(UserError, match="keeps no export before its present one"):
        delta_folder.roll_back(old)
    present = read_json(old / "bundle.json")
    Catalogue(seed=3).write(old)
    assert parts.earlier(old) == present and len(list(old.glob("parts-*"))) == 2


def test_the_commands_say_what_they_did(tmp_path, capsys):
    old, new, _ = two(tmp_path, change_rows)
    assert main("delta", "make", old, new, tmp_path / "again") == 0
    assert "of the whole export; apply it with `rexjax delta apply FOLDER" in capsys.readouterr().out
    assert main("delta", "apply", old, tmp_path / "again") == 0
    assert "holds the export 0123456789ab with 400 items" in capsys.readouterr().out
    assert json_bytes(read_json(old / "bundle.json")) == parts.read_manifest(new)
    assert main("delta", "rollback", old) == 0 and "again" in capsys.readouterr().out
    assert "an action is missing: name one of make, apply, rollback" in refused(capsys, "delta")


def test_writers_that_are_killed_leave_whole_exports_and_deltas(tmp_path):
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.delta_kills", "--moments", "3", "--json", str(found)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["of"] for row in read_json(found)["rows"]] == [3, 3, 3]
