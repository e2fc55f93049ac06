import asyncio
import threading
import time
import weakref

import numpy as np
import pytest

from rexjax.serving import engine as engines
from rexjax.serving.bundle import Bundle
from rexjax.serving.engine import Busy, Engine, Question
from rexjax.serving.popular import Allowed


@pytest.fixture(scope="module")
def bundle(exported):
    return Bundle(exported)


def allowed(mask):
    return None if mask is None else Allowed(np.flatnonzero(mask).astype(np.int32))


def question(bundle, item, k=3, exclude=(), mask=None):
    return Question(bundle, [item], k, list(exclude), allowed(mask))


def ask_all(engine, questions):
    """Answers to all at once, and then the engine stops."""

    async def run():
        task = asyncio.create_task(engine.run())
        asked = [asyncio.create_task(engine.ask(one)) for one in questions]
        await asyncio.sleep(0)
        await engine.stop()
        await task
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(run())


def test_what_was_asked_before_the_stop_is_answered_and_each_gets_its_own(bundle):
    sizes = []
    engine = Engine(bundle, observe=lambda name, value: sizes.append(value) if name == "batch_size" else None)
    found = ask_all(engine, [question(bundle, i) for i in range(300)])
    for i in (0, 63, 64, 299):
        history = np.full((1, bundle.length), -1, np.int32)
        history[0, -1] = i
        expected = bundle.recommend(history, np.asarray([[i]], np.int32))
        assert found[i].ids == expected.ids[0][:3].tolist()
    assert sum(sizes) == 300 and max(sizes) == engines.LARGEST


def test_one_mask_in_a_batch_binds_nobody_else(bundle):
    mask = np.zeros(bundle.items, bool)
    mask[[5, 6]] = True
    free, bound = ask_all(Engine(bundle), [question(bundle, 1, k=9), question(bundle, 1, k=9, exclude=[6], mask=mask)])
    assert len(free.ids) == 9 and bound.ids == [5]


def test_what_is_excluded_beyond_the_room_of_the_programs_is_excluded_too(bundle):
    first = bundle.popular.order[: bundle.excluded + 40].tolist()
    free, bound = ask_all(Engine(bundle), [question(bundle, 1, k=100), question(bundle, 1, k=100, exclude=first)])
    expected = [item for item in free.ids if item not in first]
    assert bound.ids[: len(expected)] == expected and not {*bound.ids} & {1, *first}


def test_who_comes_when_the_queue_is_full_is_told_when_to_come_again(bundle):
    found = ask_all(Engine(bundle, waiting=10), [question(bundle, i) for i in range(30)])
    busy = [one for one in found if isinstance(one, Busy)]
    assert len(busy) == 20 and all(one.seconds > 0 for one in busy)


def test_an_error_in_a_batch_reaches_those_in_it_and_the_engine_goes_on(bundle, monkeypatch):
    once, right = threading.Event(), engines.batch

    def wrong(*about):
        if not once.is_set():
            once.set()
            raise RuntimeError("out of memory")
        return right(*about)

    engine = Engine(bundle)
    monkeypatch.setattr(engines, "batch", wrong)
    found = ask_all(engine, [question(bundle, i) for i in range(100)])
    failed = [isinstance(one, RuntimeError) for one in found]
    assert failed == [True] * 64 + [False] * 36


@pytest.mark.parametrize("histories", [[[]], [[1, 2, 3, 4]], [[1], [2, 3]]])
def test_histories_end_at_the_right(histories):
    found = engines.padded(histories, 3, 2)
    assert found.shape == (2, 3) and found.dtype == np.int32
    for row, history in zip(found, histories, strict=False):
        kept = history[-3:]
        assert row.tolist() == [-1] * (3 - len(kept)) + kept


def test_a_question_is_answered_by_the_bundle_whose_ids_it_has_though_another_was_swapped_in(bundle, another):
    new = Bundle(another)
    engine = Engine(bundle)
    engine.swap(new)
    assert engine.bundle is new
    mixed = ask_all(engine, [question((bundle, new)[i % 2], i) for i in range(40)])
    alone = [ask_all(Engine(one), [question(one, i) for i in range(40)]) for one in (bundle, new)]
    assert [one.ids for one in mixed] == [alone[i % 2][i].ids for i in range(40)]
    assert alone[0][0].ids != alone[1][0].ids


@pytest.mark.parametrize("many", [False, True], ids=["few", "many"])
@pytest.mark.parametrize("masked", [False, True], ids=["all", "mask"])
def test_every_program_gives_the_same_answers_to_any_number_of_questions(bundle, many, masked):
    rng = np.random.default_rng(0)
    mask = np.arange(bundle.items) % 2 == 0 if masked else None
    k = bundle.few + 1 if many else 3
    asked = [
        Question(bundle, history, k, exclude, allowed(mask))
        for history, exclude in zip(*(rng.integers(0, bundle.items, (23, 5)).tolist() for _ in range(2)), strict=True)
    ]
    expected = {False: {False: "few", True: "recommend"}, True: dict.fromkeys((False, True), "filtered")}
    assert {engines.program_for(question) for question in asked} == {expected[masked][many]}
    scorer = np.ones((23, bundle.items), bool) if mask is None else np.tile(mask, (23, 1))
    histories = engines.padded([question.history for question in asked], bundle.length, 23)
    exclude = np.asarray([question.exclude + question.history for question in asked], np.int32)
    slow = bundle.recommend(histories, exclude, scorer)
    for found, ids in zip(engines.answer_all(asked), slow.ids, strict=True):
        assert found.ids == ids[:k].tolist()


def test_nothing_is_left_of_a_bundle_after_the_next_was_swapped_in_and_all_were_answered(five):
    engine = Engine(Bundle(five))
    for _ in range(3):
        before = engine.bundle
        gone = [weakref.ref(one) for one in (before, *before.weights.values())]
        engine.swap(Bundle(five))
        ask_all(Engine(before), [question(before, 1)])
        del before
        for _ in range(100):  # the thread that has answered lets go of the questions a moment later
            if not any(one() for one in gone):
                break
            time.sleep(0.05)
        assert [one() for one in gone] == [None] * len(gone)
