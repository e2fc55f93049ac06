"""``python -m rexjax.cli``."""

import os

from rexjax.cli.main import main

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
main()
