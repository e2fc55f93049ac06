import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize("modules", ["rexjax", "rexjax, rexjax.cli.main, rexjax.pipeline.runner"])
def test_importing_is_quick_and_brings_in_no_other_framework(modules):
    code = f"import sys, {modules}; print(sorted({{'tensorflow', 'torch', 'tensorflow_datasets'}} & set(sys.modules)))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 4  # 2 s on a machine with nothing else to do
    assert done.stdout.strip() == "[]"
