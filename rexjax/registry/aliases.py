"""The folders ``champion`` and ``challenger``: each is an export whose parts are those of a version.

``rexjax serve REGISTRY@champion`` reads such a folder. A promotion replaces its ``bundle.json``, and the server swaps
the version in as it swaps any new export.
"""

import json
import os
from pathlib import Path

from rexjax.artifacts.files import read_json
from rexjax.registry import disk
from rexjax.registry.versions import EXPORT, FOLDER

CHAMPION, CHALLENGER = "champion", "challenger"
_BUNDLE = "bundle.json"


def point(registry: Path, alias: str, version: str) -> None:
    """Makes the folder of an alias the export of ``version``; "" and a version without export leave none."""
    path = registry / alias / _BUNDLE
    export = registry / FOLDER / version / EXPORT
    about = read_json(export / _BUNDLE) if version else {}
    if not about:
        disk.remove(path)
        return
    wanted = about | {"place": os.path.relpath(export / about["place"], path.parent)}
    if read_json(path) != wanted:
        disk.replace_text(path, json.dumps(wanted, indent=1) + "\n")
