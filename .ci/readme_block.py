"""Prints the N-th shell block of a Markdown file, word for word: ``readme_block.py README.md N``."""

import re
import sys
from pathlib import Path

blocks = re.findall(r"```(?:bash|sh|shell|console)\n(.*?)```", Path(sys.argv[1]).read_text(encoding="utf-8"), re.S)
print(blocks[int(sys.argv[2]) - 1])
