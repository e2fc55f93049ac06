"""The folders ``champion`` and ``challenger``: each is an export whose files are those of a version, by hard links.

``rexjax serve REGISTRY@champion`` reads such a folder. A promotion replaces its ``bundle.json``, and the server swaps
the version in as it swaps any new export. The bytes are those of the version, so that its signature holds.
"""

from pathlib import Path

from rexjax.artifacts import owned
from rexjax.artifacts.files import read_json
from rexjax.registry import disk
from rexjax.registry.versions import EXPORT, FOLDER

CHAMPION, CHALLENGER = "champion", "challenger"
_BUNDLE = "bundle.json"


def point(registry: Path, alias: str, version: str) -> None:
    """Makes the folder of an alias the export of ``version``; "" and a version without export leave none."""
    folder, export = registry / alias, registry / FOLDER / version / EXPORT
    wanted = disk.read_text(export / _BUNDLE) if version else None
    if wanted == disk.read_text(folder / _BUNDLE):
        return
    before = read_json(folder / _BUNDLE).get("place")
    if wanted is None:
        disk.remove(folder / _BUNDLE)
        return
    place = str(read_json(export / _BUNDLE)["place"])
    disk.link(export / place, folder / place, first=owned.MANIFEST)
    disk.replace_text(folder / _BUNDLE, wanted)
    for other in disk.folders(folder):
        if other.name not in (place, before):  # the one before is kept for slow readers
            owned.remove_finished(other)
