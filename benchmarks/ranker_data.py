"""The labelled data sets of ``benchmarks.rankers``: frappe, adult and the ratings of ml-100k, as named arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from rexjax.families.ranking import LABEL
from rexjax.models.fields import Field, Fields

Arrays = dict[str, np.ndarray]
NEGATIVES = 2
"""Of each training positive of frappe, as its authors draw them."""
BUCKETS = 20
"""Quantiles of a number of adult."""


class LabelledData(NamedTuple):
    """Named arrays with labels."""

    fields: Fields
    train: Callable[[int], Mapping[str, np.ndarray]]
    """(epoch, from 0) → examples."""
    valid: Arrays
    test: Arrays


def frappe(folder: Path, redrawn: bool) -> LabelledData:
    """The published validation and test parts, and training positives beside drawn negatives.

    A negative is the positive's context with an app, drawn evenly, that is no training positive of that context.

    Args:
        folder: with frappe_x1.npz.
        redrawn: negatives are drawn anew in each epoch; else once.
    """
    file = np.load(folder / "frappe_x1.npz")
    names = [str(name) for name in file["fields"]]
    positives = file["train_positives"]
    rows = np.concatenate([positives, file["valid_x"], file["test_x"]]).max(0) + 2  # 0 is the unknown value
    fields = Fields(tuple(Field(name, int(size)) for name, size in zip(names, rows, strict=True)))
    drawn = _Negatives(positives, names, int(rows[1]) - 1)
    once = drawn(0)
    return LabelledData(
        fields,
        drawn if redrawn else lambda epoch: once,
        _named(names, file["valid_x"], file["valid_y"]),
        _named(names, file["test_x"], file["test_y"]),
    )


class _Negatives:
    """Training examples of an epoch of frappe."""

    def __init__(self, positives: np.ndarray, names: list[str], apps: int) -> None:
        self.positives, self.names, self.apps = positives, names, apps
        _, context = np.unique(np.delete(positives, 1, 1), axis=0, return_inverse=True)
        self.context = np.repeat(context.reshape(-1).astype(np.int64), NEGATIVES)
        self.known = np.unique(context.reshape(-1) * apps + positives[:, 1])

    def __call__(self, epoch: int) -> Arrays:
        rng, negatives = np.random.default_rng([0, epoch]), np.repeat(self.positives, NEGATIVES, 0)
        wrong = np.ones(len(negatives), bool)
        while wrong.any():
            negatives[wrong, 1] = rng.integers(0, self.apps, int(wrong.sum()))
            wrong = np.isin(self.context * self.apps + negatives[:, 1], self.known)
        labels = np.repeat([1, 0], [len(self.positives), len(negatives)])
        return _named(self.names, np.concatenate([self.positives, negatives]), labels)


def _named(names: list[str], ids: np.ndarray, labels: np.ndarray) -> Arrays:
    columns = {name: (ids[:, place] + 1).astype(np.int32) for place, name in enumerate(names)}
    return columns | {LABEL: labels.astype(np.float32)}


def adult(folder: Path, tasks: bool = False) -> LabelledData:
    """Census incomes above 50,000 dollars: a random tenth validates and a tenth tests, by seed 0.

    Words become ids, and numbers ids of quantiles beside their standardised values; both by the training part alone.

    Args:
        folder: with adult.parquet.brotli.
        tasks: a second task, whether a person never married, whose column and that of relationship are left out (Ma
            et al. 2018).
    """
    table = pq.read_table(folder / "adult.parquet.brotli")
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    income, left_out = columns.pop("income") == ">50K", ("marital-status", "relationship") if tasks else ()
    labels = np.stack([income, columns["marital-status"] == "Never-married"], 1) if tasks else income
    order = np.random.default_rng(0).permutation(len(income))
    train, valid, test = np.split(order, [len(order) * 8 // 10, len(order) * 9 // 10])
    arrays: Arrays = {LABEL: labels.astype(np.float32)}
    fields, numeric = [], []
    for name, values in columns.items():
        if name in left_out:
            continue
        if values.dtype == object:
            known = np.unique(values[train].astype(str))
            ids = _ids(values.astype(str), known)
        else:
            known = np.unique(np.quantile(values[train], np.linspace(0, 1, BUCKETS + 1)[1:-1]))
            ids = np.searchsorted(known, values, "right") + 1
            arrays[f"{name}_number"] = ((values - values[train].mean()) / values[train].std()).astype(np.float32)
            numeric.append(f"{name}_number")
        arrays[name] = ids.astype(np.int32)
        fields.append(Field(name, len(known) + 2))
    return _split(Fields(tuple(fields), tuple(numeric)), arrays, train, valid, test)


def ratings(folder: Path, features: bool) -> LabelledData:
    """Ratings of ml-100k less the training mean: a random tenth validates and a tenth tests, by seed 0.

    Args:
        folder: with ml-100k.inter and ml-100k.item.
        features: genres, year, how many training ratings user and item have, and the time since the user's first
            rating, beside user and item.
    """
    log = np.loadtxt(folder / "ml-100k.inter", skiprows=1, delimiter="\t", dtype=np.int64)
    order = np.random.default_rng(0).permutation(len(log))
    train, valid, test = np.split(order, [len(order) * 8 // 10, len(order) * 9 // 10])
    user, item, rating, when = log.T
    arrays: Arrays = {
        "user": user.astype(np.int32),
        "item": item.astype(np.int32),
        LABEL: (rating - rating[train].mean()).astype(np.float32),
    }
    fields = [Field("user", int(user.max()) + 1), Field("item", int(item.max()) + 1)]
    if features:
        genres, years = _films(folder / "ml-100k.item", int(item.max()) + 1)
        first = np.full(int(user.max()) + 1, when.max())
        np.minimum.at(first, user[train], when[train])
        extra = {
            "genres": genres[item],
            "year": years[item],
            "activity": _halvings(np.bincount(user[train], minlength=int(user.max()) + 1)[user]),
            "popularity": _halvings(np.bincount(item[train], minlength=int(item.max()) + 1)[item]),
            "age": _halvings(np.maximum(when - first[user], 0) // 3600),
        }
        arrays |= {name: values.astype(np.int32) for name, values in extra.items()}
        fields += [Field(name, int(values.max()) + 1) for name, values in extra.items()]
    return _split(Fields(tuple(fields)), arrays, train, valid, test)


def _films(path: Path, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Genres int [N, 6], padded with -1, and half decades int [N]; 0 where a film's are not known."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    words = np.unique([word for line in lines for word in line[3].split()])
    genres, years = np.full((items, 6), -1), np.zeros(items, int)
    for number, _, year, named in lines:
        ids = _ids(np.asarray(named.split(), str), words)[:6]
        genres[int(number), : len(ids)] = ids
        years[int(number)] = (int(year) - 1900) // 5 if year.isdigit() else 0
    return genres, years


def _ids(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """1 + places in ``known``, sorted; 0 where a value is not there."""
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[places] == values, places + 1, 0)


def _halvings(counts: np.ndarray) -> np.ndarray:
    return np.floor(2 * np.log2(1 + counts)).astype(int)


def _split(fields: Fields, arrays: Arrays, *parts: np.ndarray) -> LabelledData:
    train, valid, test = ({name: values[part] for name, values in arrays.items()} for part in parts)
    return LabelledData(fields, lambda epoch: train, valid, test)
