"""Batches requests that come one by one: what has come while one batch ran is the next one.

So nobody waits for company while the model is idle, and under load batches grow by themselves. A batch is padded to the
next of a few sizes, for which the programs are compiled before the first request is taken. What most requests ask for,
few answers and few exclusions, has a program of its own, which scores less again. The queue has an end.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from rexjax.serving.bundle import Bundle
from rexjax.serving.popular import Allowed

SIZES = {"few": (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 64), "recommend": (1, 8, 64), "filtered": (1, 8)}
"""Batches that are compiled, of each program."""
LARGEST = 64
"""Questions that are answered together."""


class Busy(Exception):
    """The queue is full; ``seconds`` is when to come again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many requests wait: come again in {seconds:.1f} s")
        self.seconds = seconds


class Question(NamedTuple):
    """One request for recommendations."""

    bundle: Bundle
    """Whose dense ids these are, and who answers: a swap on the way changes neither."""
    history: list[int]
    """Dense ids, latest last; not empty."""
    k: int
    exclude: list[int]
    """Dense ids that may not be answered."""
    allowed: Allowed | None
    """The items that may be answered; None: all."""


class Found(NamedTuple):
    """Its answer."""

    ids: list[int]
    scores: list[float]


class _Waiting(NamedTuple):
    question: Question
    answer: asyncio.Future[Found]
    since: float


class Engine:
    """Answers questions, each from the bundle that it was asked of."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        waiting: int = 1024,
        observe: Callable[[str, float], None] = lambda name, value: None,
    ) -> None:
        """Compiles and checks ``bundle``.

        Args:
            bundle: what questions are asked of, until ``swap``.
            waiting: at most so many questions wait; further ones are refused.
            observe: told ``batch_size``, and ``queue`` and ``model`` in seconds.

        Raises:
            UserError: the bundle does not answer as it should.
        """
        self._bundle, self._observe = bundle, observe
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue(waiting)
        self._seconds = 0.005  # a batch's, lately
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        warm(bundle)

    @property
    def bundle(self) -> Bundle:
        """What new questions are asked of."""
        return self._bundle

    def swap(self, bundle: Bundle) -> None:
        """Lets new questions be asked of ``bundle``, after it was compiled and checked here.

        Raises:
            UserError: it does not answer as it should; the one before goes on.
        """
        warm(bundle)
        self._bundle = bundle

    async def ask(self, question: Question) -> Found:
        """The answer.

        Raises:
            Busy: too many wait already.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(question, loop.create_future(), time.perf_counter())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise Busy(max(0.1, self._queue.qsize() / LARGEST * self._seconds)) from None
        return await waiting.answer

    async def run(self) -> None:
        """Answers until ``stop`` and what was asked before it."""
        while (first := await self._queue.get()) is not None:
            await asyncio.sleep(0)  # those that came with it
            await self._answer(self._take(first))

    async def stop(self) -> None:
        """Lets ``run`` end; nothing may be asked after it."""
        await self._queue.put(None)

    def _take(self, first: _Waiting) -> list[_Waiting]:
        found = [first]
        while len(found) < LARGEST and not self._queue.empty():
            one = self._queue.get_nowait()
            if one is None:
                self._queue.put_nowait(None)
                break
            found.append(one)
        return found

    async def _answer(self, together: list[_Waiting]) -> None:
        loop, started = asyncio.get_running_loop(), time.perf_counter()
        self._observe("batch_size", len(together))
        for waiting in together:
            self._observe("queue", started - waiting.since)
        try:
            found = await loop.run_in_executor(self._thread, answer_all, [one.question for one in together])
        except Exception as error:  # each of them is told; the server goes on
            found = [error] * len(together)
        self._seconds = 0.9 * self._seconds + 0.1 * (time.perf_counter() - started)
        self._observe("model", time.perf_counter() - started)
        for waiting, one in zip(together, found, strict=True):
            if waiting.answer.done():  # the client has gone
                continue
            if isinstance(one, Exception):
                waiting.answer.set_exception(one)
            else:
                waiting.answer.set_result(one)


def warm(bundle: Bundle) -> None:
    """Compiles all sizes, and checks the answers."""
    for program, sizes in SIZES.items():
        allowed = Allowed() if program == "filtered" else None
        for size in sizes:
            batch(bundle, program, [Question(bundle, [0], 1, [], allowed)] * size)
    bundle.similar(np.zeros(1, np.int32))
    if bundle.explains:
        bundle.explain(padded([[0]], bundle.length), np.zeros(1, np.int32))
    for model in bundle.compared:
        model.answer(padded([[0]], bundle.length), 1)
    bundle.check()


def answer_all(questions: list[Question]) -> list[Found]:
    """In their order, those of one bundle and one program together."""
    found: dict[int, Found] = {}
    groups: dict[tuple[int, str], list[int]] = {}
    for number, question in enumerate(questions):
        groups.setdefault((id(question.bundle), program_for(question)), []).append(number)
    for (_, program), numbers in groups.items():
        for start in range(0, len(numbers), SIZES[program][-1]):
            part = numbers[start : start + SIZES[program][-1]]
            asked = [questions[number] for number in part]
            found |= zip(part, batch(asked[0].bundle, program, asked), strict=True)
    return [found[number] for number in range(len(questions))]


def program_for(question: Question) -> str:
    """The quickest one that can answer it."""
    if question.allowed is not None or _excludes_many(question):
        return "filtered"
    excluded = len(question.exclude) + len(question.history)
    return "few" if question.k <= question.bundle.few and excluded <= question.bundle.room else "recommend"


def batch(bundle: Bundle, program: str, questions: list[Question]) -> list[Found]:
    """Answers of one program, padded to its next size."""
    size = next(size for size in SIZES[program] if size >= len(questions))
    room = bundle.room_of(few=program == "few")
    histories = padded([question.history for question in questions], bundle.length, size)
    exclude = padded([_excluded(question) for question in questions], room, size)
    masks = _masks(bundle, questions, size) if program == "filtered" else None
    found = bundle.recommend(histories, exclude, masks, few=program == "few")
    rows = zip(found.ids, found.scores, questions, strict=False)
    return [_of(ids[: question.k], scores[: question.k]) for ids, scores, question in rows]


def _excludes_many(question: Question) -> bool:
    """Whether it excludes more than the programs have room for, so that a mask must do it."""
    return len(question.exclude) > question.bundle.excluded


def _excluded(question: Question) -> list[int]:
    """Each item once, the most important last: where there is no room for all, a history's oldest ones are left out."""
    exclude = [] if _excludes_many(question) else question.exclude
    return [*dict.fromkeys([*exclude, *reversed(question.history)])][::-1]


def _masks(bundle: Bundle, questions: list[Question], size: int) -> np.ndarray:
    """What each may be answered with: bool [size, N]."""
    masks = np.ones((size, bundle.items), bool)
    for row, question in zip(masks, questions, strict=False):
        if question.allowed is not None:
            row[:] = bundle.popular.mask(question.allowed)
        if _excludes_many(question):
            row[question.exclude] = False
    return masks


def padded(histories: list[list[int]], length: int, size: int = 1) -> np.ndarray:
    """The latest items of each, latest last, as int32 [size, L] with -1 before them."""
    found = np.full((size, length), -1, np.int32)
    for row, history in zip(found, histories, strict=False):
        latest = history[-length:]
        row[length - len(latest) :] = latest
    return found


def _of(ids: np.ndarray, scores: np.ndarray) -> Found:
    left = np.isfinite(scores)
    return Found(ids[left].tolist(), scores[left].tolist())
