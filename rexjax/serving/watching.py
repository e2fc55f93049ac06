"""What a running server looks at: a new export, changed keys, events that are too old."""

import asyncio
import contextlib
import itertools
import json
import logging
import time
from pathlib import Path

from rexjax.errors import UserError
from rexjax.serving import parts
from rexjax.serving.bundle import Bundle, Verify
from rexjax.serving.engine import Engine
from rexjax.serving.keys import Keys
from rexjax.serving.metrics import Measures
from rexjax.serving.store import Store, Unavailable
from rexjax.serving.swap import Retry, check_apart, settle

_LOG = logging.getLogger("rexjax.serving")
WATCH_SECONDS = 2.0
"""Seconds between looks for a new bundle."""
_EXPIRE = 1800  # looks between two removals of old events


class Watch:
    """Swaps a new bundle in when the folder holds one, and goes on with the old one when it is not sound."""

    def __init__(
        self, folder: Path, verify: Verify, engine: Engine, keys: Keys, store: Store, measures: Measures
    ) -> None:
        self._folder, self._verify, self._engine = folder, verify, engine
        self._keys, self._store, self._measures = keys, store, measures
        self._retry, self._look = Retry(), asyncio.Event()
        self.told: dict[str, str] = {}
        """What went wrong last, by what it was: "swap", "keys"."""

    def refresh(self) -> None:
        """Looks for new keys and a new bundle at once."""
        self._look.set()

    async def run(self) -> None:
        """Looks until it is cancelled."""
        for look in itertools.count():
            if look % _EXPIRE == 0:
                with contextlib.suppress(Unavailable):  # an hour later, then
                    await self._store.apart(self._store.expire)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), WATCH_SECONDS)
            self._look.clear()
            await self._refresh_keys()
            now = await asyncio.to_thread(parts.read_manifest, self._folder)
            if now not in (b"", self._engine.bundle.manifest) and self._retry.due(now, time.monotonic()):
                await self._swap(now)

    async def _swap(self, manifest: bytes) -> None:
        try:
            await asyncio.to_thread(parts.trusted, self._folder, manifest, self._verify)
            began = time.monotonic()
            await check_apart(self._folder, manifest)
            checked = time.monotonic()
            # the hashes in the same manifest make sure that these are the bytes which were checked
            bundle = await asyncio.to_thread(Bundle, self._folder, manifest)
            await asyncio.to_thread(self._engine.swap, bundle)
            loaded = time.monotonic()
        except Exception as error:  # whatever it is, the old one goes on, and this one is tried again later
            seconds = self._retry.failed(manifest, time.monotonic())
            self._measures.swaps.labels("refused").inc()
            self._measures.refused_now.set(1)
            self.told["swap"] = f"refused: {error}"
            _LOG.error(json.dumps({"swap": "refused", "why": str(error), "again in": seconds}))
            return
        self.told.pop("swap", None)
        self._measures.swaps.labels("done").inc()
        self._measures.loaded(bundle)
        await asyncio.to_thread(settle)
        seconds = {"check_seconds": checked - began, "load_seconds": loaded - checked}
        _LOG.info(json.dumps({"swap": "done", "version": bundle.version} | seconds))

    async def _refresh_keys(self) -> None:
        try:
            changed = await asyncio.to_thread(self._keys.refresh)
        except UserError as error:  # those before go on
            self.told["keys"] = str(error)
            _LOG.error(json.dumps({"keys": "refused", "why": str(error)}))
            return
        if changed:
            self.told.pop("keys", None)
            _LOG.info(json.dumps({"keys": len(self._keys)}))
