"""What all versions of one registry have in common: the shape of the log and what a test is."""

import dataclasses
from typing import Any

from rexjax.artifacts.classes import as_dict
from rexjax.artifacts.hashing import differences
from rexjax.errors import UserError

_FILES = "path", "interactions", "items", "csv", "items_csv", "engine", "beam", "source", "split", "holdout"
"""Keys of ``data`` that may change from one night to the next: where the log lies, how its files are written, and the
split, which a refresh makes by time. Versions of different tests are never compared."""
_TEST = "select", "exclude_seen"
_SHOWN = 3


def identity(config: Any) -> dict[str, Any]:
    """The part of a config that a registry belongs to. Models, sizes and paths are not in it.

    Args:
        config: a ``Config``, or its plain values.

    Raises:
        UserError: it is no config.
    """
    plain = as_dict(config) if dataclasses.is_dataclass(config) else config
    try:
        data = {key: value for key, value in plain["data"].items() if key not in _FILES}
        source = plain["data"]["source"]["class"]
        return {"data": data | {"source": source}, "evaluate": {key: plain["evaluate"][key] for key in _TEST}}
    except (KeyError, TypeError) as error:
        raise UserError(f"a registry needs a config with data and evaluate, and this one lacks {error}") from error


def check(registry: Any, known: dict[str, Any], config: Any) -> None:
    """Raises ``UserError`` where the registry ``known`` belongs to another config."""
    changed = differences(known, identity(config))
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise UserError(
            f"{registry} is the registry of another config ({'; '.join(changed[:_SHOWN])}{more}): choose another "
            "registry, or go back to its config"
        )
