"""Prints the versions of all that ``rexjax[dev]`` brings, as they are installed: ``python .ci/constraints.py``."""

from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(wanted: list[str]) -> dict[str, str]:
    """Name and version of the wanted requirements and of all that they need, extras included."""
    found, seen, waiting = {}, set(), [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), sorted(requirement.extras)
        if (name, *extras) in seen:
            continue
        seen.add((name, *extras))
        distribution = metadata.distribution(name)
        found[name] = distribution.version
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ["", *extras]):
                waiting.append(needed)
    return found


if __name__ == "__main__":
    versions = closure(["rexjax[dev]"])
    print("# What the gate installs. To renew: upgrade in a fresh environment, run the gate, and then")
    print("# python .ci/constraints.py > constraints.txt")
    for name in sorted(versions.keys() - {"rexjax"}):
        print(f"{name}=={versions[name]}")
