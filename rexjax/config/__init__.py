"""What a run is told: the schema of a config file, and checks of its values."""

from rexjax.config.schema import (
    Columns,
    Compress,
    Config,
    Data,
    Encode,
    Evaluate,
    Mesh,
    Rows,
    Shop,
    Student,
    Teacher,
    Training,
    load,
)

__all__ = [
    "Columns",
    "Compress",
    "Config",
    "Data",
    "Encode",
    "Evaluate",
    "Mesh",
    "Rows",
    "Shop",
    "Student",
    "Teacher",
    "Training",
    "load",
]
