"""What answers users: a folder exported from a workdir, and the server that reads it."""

from rexjax.errors import needs_extra

with needs_extra("serve"):
    import flatbuffers  # noqa: F401 - jax.export writes with it
    import msgspec  # noqa: F401
    import prometheus_client  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
