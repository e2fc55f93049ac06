"""`rexjax encode CONFIG --worker`: one of many that encode item texts for one workdir, on any host that sees it."""

from collections.abc import Callable

from rexjax.artifacts import store, workdirs
from rexjax.config import values
from rexjax.config.schema import Config


def run(config: Config, say: Callable[[str], None]) -> None:
    """Encodes what no other worker has done or is doing, until all texts are encoded.

    It may be killed and started again at any time; the stage itself, run anywhere, makes the artifact.
    """
    values.check(config)
    from rexjax.pipeline.stages import encode
    from rexjax.runtime.compile_cache import keep_compiled_programs

    keep_compiled_programs()
    workdir = workdirs.folder_of(config.workdir)
    texts = encode.fill(config, workdir / "encode", {"prepare": store.read(workdir / "prepare")})
    say(f"{texts:,} texts of {workdir} are encoded; `rexjax encode` with the same config makes the artifact of them")
