"""The registry: a folder of immutable versions, one of which is the champion.

    REGISTRY/history.jsonl        what happened, and so which versions there are, and which one is the champion
    REGISTRY/versions/ID/         a version; its manifest.json is written last
    REGISTRY/champion/, /challenger/   that version's export
    REGISTRY/pins/, lock.json     who reads a version, and who writes

A writer holds the lock. It prepares files that no line of the history names, then replaces the history, then tidies up.
A writer that is killed leaves at most files that no line names, and the next writer removes or completes them.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rexjax.artifacts import lease, lock, paths
from rexjax.artifacts.owned import is_ours
from rexjax.artifacts.versions import Owner, is_finished
from rexjax.errors import UserError
from rexjax.evaluation.gate import Margins
from rexjax.registry import aliases, card, checks, comparing, content, disk, history, identity, pins, versions
from rexjax.registry.comparing import Comparison
from rexjax.registry.content import Content
from rexjax.registry.history import Event, State
from rexjax.registry.versions import Version

T = TypeVar("T")

_JITTER = 60.0
"""Seconds by which clocks of machines may differ unnoticed."""


class Registry:
    """A registry on disk. Every property reads it anew; any number of processes may read while one writes."""

    def __init__(self, path: Path) -> None:
        """Use ``open`` or ``create``."""
        self.path = path

    @classmethod
    def create(cls, path: str | Path, config: Any) -> "Registry":
        """Makes a registry, or opens the one that is there.

        Args:
            path: its folder.
            config: a ``Config`` or its plain values, to which all versions must belong.

        Raises:
            UserError: the folder cannot be written, holds something else, or is the registry of another config.
        """
        folder = paths.local_path(path, "REGISTRY")
        wanted = identity.identity(config)
        if history.read(folder) is None:
            paths.check_folder(folder, "REGISTRY")
            checks.refuse_foreign(folder)
            with lock.of(folder) as owner:
                if history.read(folder) is None:
                    event = Event(history.CREATE, who=checks.who(), config=wanted, token=owner.token)
                    history.write(folder, [event])
        return cls.open(folder, config)

    @classmethod
    def open(cls, path: str | Path, config: Any = None) -> "Registry":
        """Opens a registry.

        Args:
            path: its folder.
            config: what it must belong to; None: any.

        Raises:
            UserError: there is none, it is damaged, or it belongs to another config.
        """
        registry = cls(paths.local_path(path, "REGISTRY"))
        known = registry.state.events[0].config or {}
        if config is not None:
            identity.check(registry.path, known, config)
        return registry

    @property
    def state(self) -> State:
        """The history.

        Raises:
            UserError: there is no registry, or its history is damaged.
        """
        found = history.read(self.path)
        if found is None:
            raise UserError(f"{self.path} is no registry: `rexjax models add {self.path} WORKDIR` makes one")
        return found

    @property
    def champion(self) -> Version | None:
        """What is served; None before the first promotion."""
        return self._reading(lambda state: self._version(state.champion))

    @property
    def challenger(self) -> Version | None:
        """The newest version that was added and not promoted; None where there is none."""
        return self._reading(lambda state: self._version(state.challenger))

    def versions(self) -> tuple[Version, ...]:
        """All versions, the oldest first."""
        return self._reading(lambda state: tuple(versions.read(self._folder(name)) for name in sorted(state.alive)))

    def version(self, name: str) -> Version:
        """A version by its id, by the beginning of its id, or by the alias "champion" or "challenger".

        Raises:
            UserError: there is none, it was pruned, or several ids begin so.
        """
        return self._reading(lambda state: versions.read(self._folder(checks.find(state, name))))

    def add(
        self,
        folder: str | Path,
        parent: str | None = None,
        note: str = "",
        extra: Mapping[str, Path] | None = None,
        sign: Path | None = None,
    ) -> Version:
        """Adds a version and makes it the challenger. What was added before with this parent is returned as it is.

        Args:
            folder: a finished workdir, or a folder with ``config.json``, ``metrics.json`` and what else is to be kept.
            parent: id of the version that it was trained from.
            note: a sentence for people.
            extra: further folders by the name that they get in the version, such as "delta".
            sign: a file with the private key that signs the export of a workdir.

        Raises:
            UserError: the folder is not finished, belongs to another config, the parent is missing, or the clock is
                behind an earlier version's.
        """
        found, extra = content.of(Path(folder), sign), extra or {}
        identity.check(self.path, self.state.events[0].config or {}, found.config)
        with self._writing() as (owner, state):
            parent = checks.find(state, parent) if parent else None
            if versions.DELTA in extra and parent is None:
                raise UserError("a delta needs the version that it starts from: name its parent")
            key = checks.key_of(found, parent, extra)
            place = self._finished(key) or self._write(found, parent, note, key, extra, owner)
            if place.name not in state.alive:
                event = Event(history.ADD, (place.name,), state.champion, place.name, why=note)
                self._commit(owner, state, event)
        return versions.read(place)

    def compare(self, challenger: str = "", champion: str = "", margins: Margins | None = None) -> Comparison:
        """Holds a version against another by the gate.

        Args:
            challenger: id or alias; "": the challenger.
            champion: id or alias; "": the champion.
            margins: of the gate; None: its own.

        Raises:
            UserError: a version is missing, or they answered different tests.
        """
        new, old = self.version(challenger or aliases.CHALLENGER), self.version(champion or aliases.CHAMPION)
        return comparing.compare(old, new, margins or Margins())

    def promote(self, name: str, comparison: Comparison | None = None, *, force: str = "") -> Version:
        """Makes a version the champion. The first one needs no comparison.

        Args:
            name: its id, or "challenger".
            comparison: of this version with the present champion.
            force: the reason for a promotion past the gate, which the history keeps.

        Raises:
            UserError: the comparison is missing, is one of other versions, or did not pass the gate.
        """
        with self._writing() as (owner, state):
            found = self.version(name)
            found.check()
            if found.id == state.champion:
                return found
            checks.may_promote(state, found.id, comparison, force)
            self._commit(
                owner,
                state,
                Event(
                    history.PROMOTE,
                    (found.id,),
                    found.id,
                    "" if state.challenger == found.id else state.challenger,
                    why=force or (comparison.decision.words if comparison else "the first champion"),
                    forced=bool(force),
                    comparison=comparison.as_dict() if comparison else None,
                ),
            )
        return found

    def rollback(self, to: str | None = None, why: str = "") -> Version:
        """Makes a former champion the champion again.

        Where the last rollback was killed after its work was done, this one finds it done.

        Args:
            to: its id; None: the champion before this one.
            why: a sentence for people.

        Raises:
            UserError: there is no former champion, or it was pruned.
        """
        before = lease.read(self.path / lock.NAME)
        with self._writing() as (owner, state):
            last = state.events[-1]
            if last.action == history.ROLL_BACK and last.token == before.get("token") and not before.get("released"):
                return self.version(state.champion)
            if to is not None and state.champion and checks.find(state, to) == state.champion:
                return self.version(to)
            target = self.version(checks.former_champion(state, to))
            target.check()
            self._commit(owner, state, Event(history.ROLL_BACK, (target.id,), target.id, state.challenger, why=why))
        return target

    def prune(self, keep: int = 5) -> tuple[str, ...]:
        """Removes versions, but never the champion, the challenger, what their deltas need, or what is pinned.

        Args:
            keep: the newest versions that stay besides.

        Returns:
            Ids of the versions that were removed.

        Raises:
            UserError: keep is below 0.
        """
        if keep < 0:
            raise UserError(f"keep is {keep}: set it to 0 or more")
        with self._writing() as (owner, state):
            newest = sorted(state.alive)[len(state.alive) - min(keep, len(state.alive)) :]
            kept = {state.champion, state.challenger, *newest, *pins.held(self.path)}
            kept |= checks.delta_parents(self.versions(), kept)
            gone = tuple(name for name in sorted(state.alive) if name not in kept)
            if gone:
                self._commit(owner, state, Event(history.PRUNE, gone, state.champion, state.challenger))
        return gone

    @contextlib.contextmanager
    def pin(self, name: str) -> Iterator[Version]:
        """Keeps the files of a version while the body runs.

        Raises:
            UserError: there is no such version, or it was pruned.
        """
        found = self.version(name)
        with pins.hold(self.path, found.id):
            yield self.version(found.id)  # it may have been pruned before it was pinned

    @contextlib.contextmanager
    def serving(self, name: str) -> Iterator[Path]:
        """The folder that a server reads: of an alias, which follows promotions, or of a version, which is pinned.

        Raises:
            UserError: there is no such version, or it has no export.
        """
        found = self.version(name)
        if not found.export.is_dir():
            raise UserError(f"version {found.id} has no export: add it from a workdir")
        if name in checks.ALIASES:
            yield self.path / name
            return
        with self.pin(found.id):
            yield found.export

    def _folder(self, name: str) -> Path:
        return self.path / versions.FOLDER / name

    def _version(self, name: str) -> Version | None:
        return versions.read(self._folder(name)) if name else None

    def _reading(self, use: Callable[[State], T]) -> T:
        """``use(state)``; again where another process changed the registry meanwhile."""
        while True:
            state = self.state
            try:
                return use(state)
            except UserError:
                if self.state == state:
                    raise

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[Owner, State]]:
        """Holds the registry; tidies up before the body and after it."""
        self.state  # noqa: B018  a folder that is no registry is not to be locked
        with lock.of(self.path) as owner:
            self._tidy(owner, keep_unlisted=True)
            yield owner, self.state
            self._tidy(owner, keep_unlisted=False)

    def _commit(self, owner: Owner, state: State, event: Event) -> None:
        """The one moment at which something changes for readers."""
        owner.confirm()
        history.write(self.path, [*state.events, replace(event, who=checks.who(), token=owner.token)])

    def _tidy(self, owner: Owner, *, keep_unlisted: bool) -> None:
        """Lets the aliases follow the history, and removes folders of versions that it does not name.

        Args:
            owner: of the registry.
            keep_unlisted: leaves finished versions that the history never named: the next ``add`` may list them.
        """
        state = self.state
        aliases.point(self.path, aliases.CHAMPION, state.champion)
        aliases.point(self.path, aliases.CHALLENGER, state.challenger)
        if not owner.alone:
            return
        left = {*state.alive, *pins.held(self.path)}
        for folder in disk.folders(self.path / versions.FOLDER):
            unlisted = is_finished(folder) and folder.name not in state.pruned
            if folder.name not in left and is_ours(folder) and not (keep_unlisted and unlisted):
                disk.remove_version(folder)

    def _finished(self, key: str) -> Path | None:
        """The folder of a finished version with this key, which the history may not name yet."""
        found = [folder for folder in disk.folders(self.path / versions.FOLDER) if is_finished(folder)]
        pruned = self.state.pruned
        return next((one for one in found if one.name not in pruned and versions.read(one).key == key), None)

    def _write(
        self, found: Content, parent: str | None, note: str, key: str, extra: Mapping[str, Path], owner: Owner
    ) -> Path:
        """Writes a version that the history does not name yet."""
        created = checks.moment(self.versions(), _JITTER, time.time())
        place = self._folder(versions.name_of(created, key))
        disk.begin(place, key, owner.token)
        found.write(place)
        content.name_parent(place, self.version(parent) if parent else None)
        for name, source in extra.items():
            disk.copy(source, place / name)
        about = {
            "parent": parent,
            "created": created,
            "note": note,
            "key": key,
            "metrics": content.summary(found.metrics),
        }
        disk.replace_text(place / versions.CARD, card.write(place, place.name, about, found.metrics))
        disk.finish(place, about)
        return place
