"""``python -m docs.generators [--check]``."""

import argparse
import re
import sys

from docs.generators import reference, results

README = results.ROOT / "README.md"
_BLOCK = re.compile(r"(<!-- results:start -->\n).*?(<!-- results:end -->)", re.S)


def pages() -> dict[str, str]:
    """Text of every generated file by its path below the project's root."""
    below = results.pages() | reference.pages()
    readme = _BLOCK.sub(lambda m: m[1] + results.readme_table() + "\n" + m[2], README.read_text(encoding="utf-8"))
    return {f"docs/{path}": text for path, text in below.items()} | {"README.md": readme}


def outdated(made: dict[str, str]) -> list[str]:
    """Paths whose file differs from what is made."""
    return [
        path
        for path, text in made.items()
        if not (results.ROOT / path).is_file() or (results.ROOT / path).read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Writes the pages, or says which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    check = parser.parse_args().check
    try:
        made = pages()
    except results.Refused as error:
        print(error, file=sys.stderr)
        return 2
    old = outdated(made)
    for path in old:
        print(f"{path} is out of date" if check else f"wrote {path}")
        if not check:
            (results.ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (results.ROOT / path).write_text(made[path], encoding="utf-8")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
