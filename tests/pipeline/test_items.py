import gzip
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tokenizers
from flax import linen as nn
from tokenizers import models, pre_tokenizers

from rexjax.artifacts import classes, store, versions
from rexjax.compression.quantize import quantize
from rexjax.config import Columns, Config, Data, Encode, Files, Pooled
from rexjax.encoders.bert import Bert, BertConfig
from rexjax.encoders.loading import TextModel
from rexjax.encoders.text import encode_texts
from rexjax.errors import UserError
from rexjax.models.served import Served
from rexjax.pipeline import items
from rexjax.pipeline.items import Change
from rexjax.pipeline.stages import prepare
from rexjax.retrieval import index, index_updates

N, D, L = 24, 8, 6
STUDENT = Pooled(width=D, profiles=2, hidden=6)
TITLES = [f"w{i % 8} w{i // 8 + 10} w{20 + i % 5}" for i in range(N)]
HEAD = "sku,name,kind"


def text_model(seed):
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *(f"w{i}" for i in range(38))])}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    module = Bert(BertConfig(vocab=40, width=8, layers=1, heads=2, mlp=16, positions=20))
    params = module.init(jax.random.key(seed), jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool))
    params = jax.tree.map(lambda leaf: np.asarray(leaf) * 8, params)
    return TextModel(module, params, tokenizer, "mean", True, 18, f"{seed}" * 64, "tiny")


MODEL = text_model(3)


def made(folder, ids, **data):
    """A workdir whose index holds rows that follow the texts, and a student that takes a history's mean."""
    files, workdir = folder / "files", folder / "run"
    files.mkdir(parents=True)
    log = [(user, ids[(5 * user + step) % N], step) for user in range(N) for step in range(6)]
    log = {n: list(column) for n, column in zip(("user_id", "sku", "timestamp"), zip(*log, strict=True), strict=True)}
    pq.write_table(pa.table(log), files / "interactions.parquet")
    pq.write_table(pa.table({"sku": ids, "name": TITLES, "kind": ["mugs", None] * (N // 2)}), files / "items.parquet")
    settled = {"text": ("name",), "columns": Columns(item="sku", category="kind"), "strict": False} | data
    settled = Data(source=Files(), path=str(files), min_user_events=1, min_item_events=1, **settled)
    finish(workdir / "prepare", lambda f: prepare.run(Config(str(workdir), data=settled), f, {}), data=settled)
    finish(workdir / "encode", lambda f: {}, encode=Encode(model="tiny"))

    def write(place):
        shutil.copy(store.find(workdir / "prepare").folder / "items.parquet", place)
        texts = pq.read_table(place / "items.parquet")["text"].to_pylist()
        vectors = encode_texts(MODEL, texts, folder / "shards", mesh=None)
        rows = (vectors - vectors.mean(0)) @ np.random.default_rng(0).normal(size=(8, D))
        history = nn.unbox(STUDENT.recommender(L).init(jax.random.key(0), 0))["history"]
        history["down"] = jax.tree.map(jnp.zeros_like, history["down"])
        rows = jnp.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), jnp.float32)
        index.write(place, STUDENT, quantize(Served(rows, history), 8), L, np.arange(1, N + 1))
        return {"items": N, "bytes": 0}

    finish(workdir / "index", write)
    return workdir


def finish(place, run, **config):
    folder = versions.begin(place, "key")
    config = {name: classes.as_dict(part) for name, part in config.items()}
    store.finish(folder, "key", content={}, seconds=0, config=config, metrics=run(folder))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return made(tmp_path_factory.mktemp("items"), [f"s{i}" for i in range(N)])


@pytest.fixture
def workdir(finished, tmp_path, monkeypatch):
    """A copy, to be changed."""
    monkeypatch.setattr(items.loading, "load_model", lambda folder: MODEL)
    return shutil.copytree(finished, tmp_path / "run")


def change(workdir, put=None, remove=None):
    """What was said; ``put`` are lines of a CSV file, ``remove`` lines."""
    files, said = {}, []
    for name, lines, ending in (("put", [HEAD, *put] if put else None, "csv"), ("remove", remove, "txt")):
        if lines is not None:
            files[name] = workdir.parent / f"{name}.{ending}"
            files[name].write_text("\n".join(lines) + "\n")
    items.run(Change(workdir, **files), said.append)
    return said


def ids(workdir):
    return index.read(store.find(workdir / "index").folder).item_ids


def hash_of(workdir):
    return store.read(workdir / "index").hash


def version(workdir):
    return json.loads((store.find(workdir / "index").folder / "index.json").read_text())["version"]


def best(workdir, *history):
    found = index.read(store.find(workdir / "index").folder)
    return [row.item_id for row in index.recommend(found, index.find_items(found, list(history))[0], 3)]


# --- what changes -----------------------------------------------------------------------------------------------------


def test_an_item_that_is_put_in_is_found_by_a_history_of_similar_ones_until_it_is_taken_out(workdir):
    before, at_first, first = ids(workdir), best(workdir, "s3"), hash_of(workdir)
    said = change(workdir, [f"new,{TITLES[3]},rugs"])
    assert "learnt from 24 items; a linear function explains" in said[0]
    assert said[1].endswith("1 items added, 0 replaced, 0 removed; 25 items, version 2")
    assert ids(workdir) == [*before, "new"] and best(workdir, "s3")[0] == "new" and best(workdir, "new")[0] == "s3"
    found = index.read(store.find(workdir / "index").folder)
    assert found.titles[-1] == TITLES[3] and found.categories[-1] == "rugs" and found.share[-1] == 0
    assert store.read(workdir / "index").metrics["items"] == 25
    second = hash_of(workdir)
    assert change(workdir, remove=["new"]) == [
        f"{workdir}/index: 0 items added, 0 replaced, 1 removed; 24 items, version 3"
    ]
    assert ids(workdir) == before and best(workdir, "s3") == at_first
    assert len({first, second, hash_of(workdir)}) == 3


def test_a_replaced_item_keeps_its_place_and_popularity(workdir):
    before = index.read(store.find(workdir / "index").folder)
    place = before.item_ids.index("s5")
    change(workdir, [f"s5,{TITLES[9]},", "other,w1 w2,"], remove=["s0", "nobody"])
    after = index.read(store.find(workdir / "index").folder)
    place -= before.item_ids.index("s0") < place
    assert after.item_ids == [*(item for item in before.item_ids if item != "s0"), "other"]
    assert after.titles[place] == TITLES[9] and after.categories[place] == "" and best(workdir, "s9")[0] == "s5"
    counts = {item: share * N * (N + 1) / 2 for item, share in zip(before.item_ids, before.share, strict=True)}
    total = sum(counts.values()) - counts["s0"]
    assert after.share[place] == pytest.approx(counts["s5"] / total)


def test_the_map_is_fitted_once(workdir, monkeypatch):
    change(workdir, ["a,w1 w11,"])
    text_map = index_updates.read_map(store.find(workdir / "index").folder)
    read = []
    encode = items.text.encode_texts
    monkeypatch.setattr(
        items.text, "encode_texts", lambda m, texts, *a, **k: (read.extend(texts), encode(m, texts, *a, **k))[1]
    )
    change(workdir, remove=["s1"])
    said = change(workdir, ["b,w2 w12,"])
    assert read == ["w2 w12"] and len(said) == 1
    kept = index_updates.read_map(store.find(workdir / "index").folder)
    np.testing.assert_array_equal(kept.kernel, text_map.kernel)
    assert kept.about == text_map.about and {"index", "encoder", "ridge"} <= kept.about.keys()


def test_a_map_of_another_text_model_is_refused(workdir, monkeypatch):
    change(workdir, ["a,w1 w11,"])
    before = hash_of(workdir)
    monkeypatch.setattr(items.loading, "load_model", lambda folder: text_model(4))
    with pytest.raises(UserError, match="was made with another text model than tiny: .*--encode.model"):
        change(workdir, ["b,w2 w12,"])
    assert hash_of(workdir) == before


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_files_of_all_kinds(workdir, ending):
    put, gone = (workdir.parent / f"{name}.{ending}" for name in ("put", "gone"))
    table = pa.table({"kind": ["rugs", None], "sku": ["new", "s2"], "name": [" w3 w4 ", "w5"], "more": [1, 2]})
    for path, rows in ((put, table), (gone, pa.table({"sku": ["s4", "s6"]}))):
        if ending == "parquet":
            pq.write_table(rows, path)
        else:
            pa.csv.write_csv(rows, path.with_suffix("") if ending == "csv.gz" else path)
        if ending == "csv.gz":
            path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    items.run(Change(workdir, put, gone), lambda line: None)
    found = index.read(store.find(workdir / "index").folder)
    known = dict(zip(found.item_ids, zip(found.titles, found.categories, strict=True), strict=True))
    assert known["new"] == ("w3 w4", "rugs") and known["s2"] == ("w5", "") and not {"s4", "s6"} & known.keys()


def test_ids_that_are_numbers_are_compared_as_they_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(items.loading, "load_model", lambda folder: MODEL)
    workdir = made(tmp_path, list(range(N)))
    said = change(workdir, ["007,w1,", "0,w2,", "0100,w3,", "x1,w4,"], remove=["3"])
    assert "3 items added, 1 replaced, 1 removed" in said[-1]
    assert ids(workdir)[-3:] == ["007", "0100", "x1"] and "3" not in ids(workdir)


def test_ids_that_look_like_numbers_among_others_stay_as_they_are(workdir):
    change(workdir, ["007,w1,", "7,w2,"])
    assert ids(workdir)[-2:] == ["007", "7"]


def test_a_run_of_the_stage_keeps_the_changes(workdir):
    before = store.read(workdir / "index").manifest
    change(workdir, remove=["s1"])
    after = store.read(workdir / "index").manifest
    assert (after["key"], after["config"]) == (before["key"], before["config"]) and after["hash"] != before["hash"]


def test_an_export_of_the_changed_index_answers_with_the_new_item(workdir, tmp_path):
    from rexjax.serving import export
    from rexjax.serving.bundle import Bundle

    change(workdir, [f"new,{TITLES[3]},rugs"], remove=["s7"])
    assert index.read(store.find(workdir / "index").folder).version == 2
    export.write(workdir, tmp_path / "bundle")
    bundle = Bundle(tmp_path / "bundle")
    bundle.check()
    history = np.full((1, L), -1, np.int32)
    history[0, -1] = bundle.by_id["s3"]
    best = bundle.recommend(history, history).ids[0, 0]
    assert bundle.item_ids[best] == "new" and "s7" not in bundle.by_id and "rugs" in bundle.categories


# --- killed -----------------------------------------------------------------------------------------------------------

STEPS = {
    "reading texts": (items.text, "encode_texts"),
    "writing rows": (index.files, "write"),
    "writing popularity": (index.np, "save"),
    "the manifest": (store, "finish"),
    "publishing": (store, "write_json"),
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_index_is_whole_and_the_command_can_be_repeated(workdir, monkeypatch, step):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    before = hash_of(workdir), ids(workdir)
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], killed)
        with pytest.raises(KeyboardInterrupt):
            change(workdir, ["new,w1 w2,"], remove=["s1"])
    assert (hash_of(workdir), ids(workdir)) == before
    change(workdir, ["new,w1 w2,"], remove=["s1"])
    assert ids(workdir) == [*(item for item in before[1] if item != "s1"), "new"] and version(workdir) == 2
    assert not (store.find(workdir / "index").folder / "shards").exists()


def test_killed_after_the_index_is_published_it_is_the_new_one(workdir, monkeypatch):
    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.versions, "remove_older", killed)
        with pytest.raises(KeyboardInterrupt):
            change(workdir, remove=["s1"])
    assert store.read(workdir / "index").metrics["items"] == N - 1 and "s1" not in ids(workdir)
    change(workdir, remove=["s2"])
    assert version(workdir) == 3 and len(versions.versions(workdir / "index")) == 2


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("put", "remove", "words"),
    [
        (None, None, "nothing is to change: pass --put FILE, --remove FILE or both"),
        (["a,w1,", "b,,", "c, ,"], None, "2 items of .*put.csv are without text .*'b'.*: fill in name"),
        (None, ["x", "y"], r"none of the 2 ids in .*remove.txt is in the index \(such as 'x'\)"),
        (None, [" ", ""], "remove.txt has no id: it needs one a line"),
        (["s1,w1,", "b,w2,"], ["s1"], r"1 ids are in both .*put.csv and .*remove.txt \(such as 's1'\)"),
        (None, [f"s{i}" for i in range(N)], "remove.txt names all 24 items: an index needs one at least"),
        ([",w1,"], None, "put.csv has no item"),
    ],
)
def test_what_cannot_be_changed_is_refused(workdir, put, remove, words):
    before = hash_of(workdir)
    with pytest.raises(UserError, match=words) as caught:
        change(workdir, put, remove)
    assert "\n" not in str(caught.value)
    assert hash_of(workdir) == before and not versions.unfinished(workdir / "index")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "put.csv",
            "sku,title,kind\na,w1,\n",
            r"put.csv has no column 'name' \(it has sku, title, kind\): see --data.text",
        ),
        ("put.csv", "id,name,kind\na,w1,\n", "has no column 'sku' .*: see --data.columns.item"),
        ("put.csv", "sku,name\na,w1\n", "has no column 'kind' .*: see --data.columns.category"),
        ("put.parquet", "no parquet", "put.parquet cannot be read as Parquet"),
        ("nowhere.csv", None, "no file nowhere.csv in "),
        ("remove.csv", "id\na\n", "remove.csv has no column 'sku'"),
        ("remove", None, "remove cannot be read as a list of ids"),
        ("remove", b"\xff\xfe", "remove cannot be read as a list of ids"),
    ],
)
def test_files_that_do_not_fit_are_refused(workdir, name, content, words):
    path = workdir.parent / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words) as caught:
        items.run(Change(workdir, **{"remove" if "remove" in name else "put": path}), lambda line: None)
    assert "\n" not in str(caught.value)


def test_a_workdir_that_cannot_read_texts_says_so_but_items_can_be_taken_out(tmp_path, workdir):
    finish(workdir / "encode", lambda f: {}, encode=Encode(vectors="vectors.npy"))
    with pytest.raises(UserError, match=r"came from a file \(--encode.vectors\).*--encode.model"):
        change(workdir, ["a,w1,"])
    change(workdir, remove=["s1"])
    silent = made(tmp_path / "silent", [f"s{i}" for i in range(N)], text=())
    with pytest.raises(UserError, match=r"this log has none \(--data.text names no column\)"):
        change(silent, ["a,w1,"])
    change(silent, remove=["s1"])
    with pytest.raises(UserError, match="there is no workdir .*nowhere"):
        change(tmp_path / "nowhere", remove=["s1"])
