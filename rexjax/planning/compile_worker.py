"""The process in which libtpu runs: a line of JSON for each request on stdin, and one for its answer on stdout.

libtpu writes to stdout and stderr as it likes and may abort; neither is to reach the user.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts.classes import as_dict, from_dict
from rexjax.config.schema import Config
from rexjax.errors import UserError
from rexjax.planning.topology import Topology


class Request(NamedTuple):
    """Compile programs of ``config`` for ``topology``."""

    config: Config
    items: int
    topology: Topology
    programs: tuple[str, ...] | None = None
    """Names; None stands for all that the config runs."""
    stop: bool = False
    """Leave out what follows the first program that does not fit."""
    files: Path | None = None
    """Copies of the config files that define classes of ``config`` (``artifacts.classes.keep_files``)."""


def to_line(request: Request) -> bytes:
    """A request as it is sent."""
    where = request.topology
    fields = request._asdict() | {"config": as_dict(request.config), "files": str(request.files or "")}
    fields["topology"] = [where.generation, where.layout, where.slices]
    return json.dumps(fields).encode() + b"\n"


def from_line(line: bytes) -> Request:
    """The inverse of ``to_line``."""
    fields = json.loads(line)
    fields["files"] = Path(fields["files"]) if fields["files"] else None
    fields["config"] = from_dict(Config, fields["config"], fields["files"])
    fields["topology"] = Topology(*fields["topology"])
    return Request(**fields)


def answer(request: Request) -> dict[str, Any]:
    """The mesh's shape and each program's figures."""
    from rexjax.planning import meshes, program, programs

    mesh = meshes.make_mesh(request.topology, request.config.mesh.model)
    limit = program.hbm_limit(mesh, request.topology)
    names = programs.names(request.config) if request.programs is None else request.programs
    found = {}
    for name in names:
        built = programs.build(name, request.config, request.items, mesh)
        found[name] = program.measure(built, mesh, request.topology, limit)
        if request.stop and not found[name]["fits"]:
            break
    return {"mesh": dict(mesh.shape), "programs": found}


def main() -> None:
    """Serves requests until stdin ends."""
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        try:
            reply = answer(from_line(line))
        except UserError as error:
            reply = {"user_error": str(error)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        results.write(json.dumps(reply) + "\n")
        results.flush()


if __name__ == "__main__":
    main()
