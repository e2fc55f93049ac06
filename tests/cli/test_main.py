import json
import os
import re

import pytest

from rexjax.artifacts import store
from rexjax.pipeline import runner
from tests.cli.runs import main, refused, state

STAGES = tuple(runner.BY_NAME)

# --- A whole run ------------------------------------------------------------------------------------------------------


def test_a_run_leaves_eight_artifacts_the_figures_and_a_report(finished):
    _, workdir = finished
    assert all(store.read(workdir / stage).folder.parent == workdir / stage for stage in STAGES)
    found = json.loads((workdir / "metrics.json").read_text())
    assert found.keys() >= {"config_hash", "dataset", "models"}
    assert found["dataset"] | {"users": 60, "items": 40} == found["dataset"]
    assert found["models"].keys() >= {
        *("popularity", "text_cosine", "teacher", "student", "student_control"),
        *("student_int8", "student_int4"),
    }
    for name, model in found["models"].items():
        for part in ("valid", "test"):
            values = {m: model["quality"][part][m] for m in ("ndcg@10", "hit_rate@10", "recall@10", "mrr@10", "ndcg@1")}
            assert all(0 <= value <= 1 for value in values.values()), (name, values)
        cost = {"parameters", "bytes_resident", "bytes_per_item", "flops_per_request", "flops_user_encoding"}
        cost |= {"p50_ms", "p99_ms", "users_per_second"}
        assert model["cost"].keys() >= cost
        assert all(model["cost"][key] >= 0 for key in cost)
    # the student is small, and smaller in int8
    size = {name: model["cost"]["bytes_resident"] for name, model in found["models"].items()}
    assert size["student_int8"] < size["student"] < size["teacher"]


def test_the_report_stands_alone(finished):
    html = (finished[1] / "report.html").read_text()
    assert "student_int8" in html
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", html)
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", html)


def test_a_second_run_skips_everything_and_says_so(finished, capsys):
    config, workdir = finished
    artifacts = {stage: state(workdir / stage) for stage in STAGES}
    assert main("run", config) == 0
    lines = capsys.readouterr().out.splitlines()
    skipped = [line.split(":")[0] for line in lines if "unchanged, skipped" in line]
    assert skipped == list(STAGES)
    assert {stage: state(workdir / stage) for stage in STAGES} == artifacts


@pytest.mark.parametrize("stage", STAGES)
def test_one_stage_can_be_asked_for(finished, capsys, stage):
    assert main(stage, finished[0]) == 0
    assert f"{stage}: unchanged, skipped" in capsys.readouterr().out


# --- items -----------------------------------------------------------------------------------------------------------


def test_items_are_taken_out_and_a_run_leaves_it_so(copy, tmp_path, capsys):
    config, workdir = copy
    (tmp_path / "gone.txt").write_text("sku-00001\nsku-99999\n")
    assert main("items", workdir, "--remove", tmp_path / "gone.txt") == 0
    said = capsys.readouterr().out
    assert "0 items added, 0 replaced, 1 removed (1 more were not there, such as 'sku-99999'); 39 items" in said
    assert "this catalogue has 39 items" in refused(capsys, "recommend", workdir, "--k", 40)
    assert main("index", config, "--workdir", workdir) == 0
    assert "index: unchanged, skipped" in capsys.readouterr().out
    assert "'sku-00001'" in refused(capsys, "recommend", workdir, "--history", "sku-00001")


def test_items_that_cannot_be_put_in_are_refused(copy, tmp_path, capsys):
    before = state(copy[1] / "index")
    (tmp_path / "new.csv").write_text("item_id,title\nnew,A chair\n")
    assert "nothing is to change" in refused(capsys, "items", copy[1])
    assert "came from a file (--encode.vectors)" in refused(capsys, "items", copy[1], "--put", tmp_path / "new.csv")
    assert state(copy[1] / "index") == before


# --- Mistakes that cost nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--student.model.width", "16"), r"belongs to another config \(student.model.width: 8 -> 16\).*--update"),
        (("--evaluate.k", "1", "41", "--update"), "evaluate.k has the cut-off 41: "),
        (("--student.top-k", "41", "--update"), "top-k 41 is l.*er than the catalogue of 40 items"),
        (("--encode.vectors", "nowhere.npy", "--update"), "no file nowhere.npy"),
    ],
)
def test_a_wrong_flag_on_a_finished_workdir_is_refused(copy, capsys, flags, words):
    config, workdir = copy
    prepared = state(workdir / "prepare")
    before = state(workdir)
    assert re.search(words, refused(capsys, "run", config, "--workdir", workdir, *flags))
    assert state(workdir / "prepare") == prepared
    if "--update" not in flags:
        assert state(workdir) == before
    # with the flag put right, the stages before the refused one are still there
    assert main("prepare", config, "--workdir", workdir, "--update") == 0
    assert "prepare: unchanged, skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Config(workdir='w', sead=1)", "sead"),
        ("Config(workdir='w', seed='one')", "config key seed is 'one', which is not int"),
        (None, "no config file"),
    ],
)
def test_config_files_that_are_wrong_are_refused(tmp_path, capsys, content, words):
    path = tmp_path / "wrong.py"
    if content:
        path.write_text(f"from rexjax.config import *\ndef get_config(): return {content}")
    assert words in refused(capsys, "run", path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trian", "x.py"), "no command 'trian'"),
        (("run",), "name a config"),
        (("teacher", "--seed", "1"), "name a config"),
    ],
)
def test_commands_that_are_wrong_are_refused(capsys, arguments, words):
    assert words in refused(capsys, *arguments)


# --- Places that cannot be used ---------------------------------------------------------------------------------------

PLACES = {
    "gs://my-bucket/run": "gcsfuse",
    "s3://my-bucket/run": "mount-s3",
    "FILE": "is a file and no folder",
    "FILE/run": "is a file and no folder",
    "DEAD": "is a link that leads nowhere",
    "/proc/run": "/proc",
    "~nobody-of-this-name/run": "is no user of this machine",
}


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A folder with a file and a dead link, in which commands run; to be left as it is."""
    (tmp_path / "FILE").write_text("mine")
    (tmp_path / "DEAD").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["DEAD", "FILE"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "command",
    [
        ("prepare", "CONFIG", "--workdir", "PLACE"),
        ("run", "CONFIG", "--workdir", "PLACE", "--update"),
        ("sweep", "CONFIG", "--workdir", "PLACE"),
        ("export", "WORKDIR", "PLACE"),
        ("recommend", "WORKDIR", "--out", "PLACE/x.csv"),
    ],
    ids=lambda command: command[0],
)
def test_a_place_that_cannot_be_used_is_refused_before_anything_is_made(finished, odd, capsys, command, place):
    named = {"CONFIG": finished[0], "WORKDIR": finished[1], "PLACE": place, "PLACE/x.csv": f"{place}/x.csv"}
    said = refused(capsys, *(named.get(part, part) for part in command))
    assert PLACES[place] in said or "there is no folder" in said and command[0] == "recommend"


def test_the_home_is_written_out(finished, odd, tmp_path_factory, monkeypatch, capsys):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    assert main("prepare", finished[0], "--workdir", "~/runs/x") == 0
    assert store.read(home / "runs" / "x" / "prepare")
    assert main("recommend", finished[1], "--out", "~/x.csv") == 0 and (home / "x.csv").exists()


def test_a_bucket_is_no_folder_of_files(tmp_path, capsys):
    shop_files(tmp_path / "files")
    said = refused(capsys, *prepare(tmp_path, "--data.path", "gs://my-bucket/log"))
    assert "--data.path gs://my-bucket/log lies on no disk" in said and "gcsfuse" in said


# --- Mistakes in the data ---------------------------------------------------------------------------------------------

GOOD = [f"u{u},i{(u + t) % 6},{t}" for u in range(6) for t in range(4)]
TITLES = [f"i{n},Thing {n}" for n in range(6)]
HEADS = ("user_id,item_id,timestamp", "item_id,title")


def shop_files(folder, log=GOOD, items=TITLES, heads=HEADS):
    folder.mkdir(parents=True, exist_ok=True)
    for name, head, lines in (("interactions", heads[0], log), ("items", heads[1], items)):
        if lines is not None:
            (folder / f"{name}.csv").write_text("\n".join([head, *lines]) + "\n" if head else "")


def prepare(folder, *flags, source="Files()"):
    config = folder / "files.py"
    data = f"Data(source={source}, min_user_events=1, min_item_events=1)"
    head = "from rexjax.config import *\ndef get_config():\n    return "
    config.write_text(f"{head}Config({str(folder / 'workdir')!r}, data={data})\n")
    return ("prepare", config, "--data.path", folder / "files", *flags)


BAD = [
    ({"log": None}, "no file interactions in "),
    ({"items": None}, "no file items in "),
    ({"heads": ("user,item_id,timestamp", HEADS[1])}, "the log has no column 'user_id'"),
    ({"heads": (HEADS[0], "item_id,name")}, "items has no column 'title'"),
    ({"heads": ("", HEADS[1])}, "interactions.csv is empty: write a line with the columns' names"),
    ({"log": []}, "the log is empty"),
    ({"log": [*GOOD, "u1,i5,soon"]}, "column 'timestamp' of the log holds 'soon' in row 25, which is no time"),
    ({"log": [*GOOD * 1000, "u1,i5,soon"]}, "soon"),
    ({"log": [f"u{n},i{n},{n}" for n in range(6)]}, "no user is left to test on .*leave_one_out needs 3"),
    (
        {"log": [f"u{n},i{(n + t) % 6},{t}" for n in range(6) for t in range(3)]},
        "no user has two interactions",
    ),
    ({"items": TITLES[1:]}, "1 items are in the log only.*'i0'.*--data.no-strict"),
    ({"items": [*TITLES, "i0,Thing again"]}, "1 items have several rows in the items file.*'i0'.*--data.no-strict"),
    ({"items": ["i0,", *TITLES[1:]]}, "1 items are without text.*'i0'.*--data.no-strict"),
]


def test_a_sweep_prints_its_trials_and_names_the_best(copy, capsys):
    sweep = ("sweep", copy[0], "--workdir", copy[1], "--trials")
    assert main(*sweep, "1") == 0
    said = capsys.readouterr().out
    assert all(part in said for part in ("prepare: unchanged, skipped", "start small", f"{copy[1]}/sweep/teacher/best"))
    assert "--trials 0" in refused(capsys, *sweep, "0")
    assert "pass --update" in refused(capsys, *sweep, "1", "--seed", "2")
    assert main(*sweep, "1", "--seed", "2", "--update") == 0


@pytest.mark.parametrize(("files", "words"), BAD)
def test_bad_files_are_refused_and_once_mended_accepted(tmp_path, capsys, files, words):
    shop_files(tmp_path / "files", **files)
    assert re.search(words, refused(capsys, *prepare(tmp_path)))
    shop_files(tmp_path / "files")
    assert main(*prepare(tmp_path)) == 0


def card(folder):
    return store.find(folder / "workdir" / "prepare").metrics


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"items": TITLES[1:]}, {"items": 5, "interactions": 20, "items_without_interactions": 0}),
        ({"items": [*TITLES, "i9,Never sold"]}, {"items": 7, "catalogue_rows": 7, "items_without_interactions": 1}),
        ({"items": ["i0,", *TITLES[1:]]}, {"items": 6, "items_without_text": 1}),
        (
            {"log": [*GOOD, "once,i3,9", "twice,i3,9", "twice,i4,10"]},
            {"users": 8, "users_without_test": 2, "test_users": 6},
        ),
    ],
)
def test_without_strict_the_data_card_counts_what_does_not_fit(tmp_path, files, expected):
    shop_files(tmp_path / "files", **files)
    assert main(*prepare(tmp_path, "--data.no-strict")) == 0
    assert card(tmp_path) | expected == card(tmp_path)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--data.split", "last_session"), "pass --data.columns.session"),
        (("--data.min-rating", "3"), "pass --data.columns.rating"),
        (("--data.min-user-events", "9"), "cleaning removed every interaction"),
    ],
)
def test_settings_that_the_log_cannot_meet_are_refused(tmp_path, capsys, flags, words):
    shop_files(tmp_path / "files")
    assert words in refused(capsys, *prepare(tmp_path, *flags))


@pytest.mark.parametrize(
    ("source", "flags", "words"),
    [
        ("Tfds('no_such_set')", (), "TFDS builder 'no_such_set' cannot be prepared"),
        ("'files'", (), "config key data.source is 'files', which is no Source: import Files from rexjax.config and "),
        ("Shop()", ("--data.source.users", "0"), "The shop has users=0"),
    ],
)
def test_sources_that_cannot_be_read_are_refused(tmp_path, capsys, source, flags, words):
    (tmp_path / "files").mkdir()
    assert words in refused(capsys, *prepare(tmp_path, *flags, source=source))


# --- Damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing from a finished artifact"),
        (lambda f: os.truncate(f / "rows.npy", 100), "rows.npy is damaged"),
        (lambda f: (f / "popularity.npy").unlink(), "popularity.npy is missing"),
        (lambda f: (f / "index.json").write_text((f / "index.json").read_text().replace("8", "9", 1)), "is damaged"),
    ],
)
def test_a_damaged_index_is_refused_and_made_again(copy, capsys, damage, words):
    config, workdir = copy
    damage(store.find(workdir / "index").folder)
    assert words in refused(capsys, "recommend", workdir)
    assert main("index", config, "--workdir", workdir) == 0
    assert main("recommend", workdir) == 0


def test_an_earlier_stage_that_is_damaged_is_named(copy, capsys):
    config, workdir = copy
    os.truncate(store.find(workdir / "encode").folder / "vectors.npy", 50)
    assert "vectors.npy is damaged" in refused(capsys, "teacher", config, "--workdir", workdir)
    assert store.read(workdir / "teacher")
