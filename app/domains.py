"""The only place where a business is loaded: a folder, inside this repository or anywhere else."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from app.config import ROOT, Settings, environment
from prompts.replies import Replies
from tools.cases import CaseBook, CasesInvalid, load_cases
from tools.domain import Domain, OpenBooks, Profile
from tools.importing.declared import with_environment
from tools.importing.problems import FilesInvalid
from tools.importing.yaml_files import read_file, validated
from tools.intents import IntentsInvalid, load_intents
from tools.questions import QUESTIONS, Answered, QuestionsInvalid, load_questions
from tools.records import Lexicon
from tools.values import Operation

#: What a business of files alone can do, in its folder.
OVERLAY = "operations.yaml"


class DomainInvalid(ValueError):
    """The domain's folder cannot be used as it is."""


def domain_of(settings: Settings) -> Domain:
    """The business that the settings name."""
    return load_domain(settings.domain)


def books_of(settings: Settings) -> OpenBooks:
    """How the business's books are opened. Of a business of code nothing else is read: whoever only looks somebody
    up does not wait for its cases and intents. Raises DomainInvalid."""
    folder = settings.domain
    if (folder / "domain.py").exists():
        return _offered(_module(folder, "domain"), "open_books")
    return load_domain(folder).open_books


def replies_of(domain: Domain) -> Replies:
    """What the business says, in every language it speaks."""
    business = domain.profile.model_dump(include={"name", "currency", "contact"})
    return Replies(domain.replies, languages=domain.profile.languages, business=business)


@cache
def load_domain(folder: Path) -> Domain:
    """The business in a folder, read once in a process, with the addresses and keys that its environment had then.
    Raises DomainInvalid."""
    return read_domain(folder)


def read_domain(folder: Path) -> Domain:
    """Read and check a domain's folder. Raises DomainInvalid with the file and what to do about it."""
    if not folder.is_dir():
        raise DomainInvalid(f"{folder} is no folder: set SIGNALBOX_DOMAIN to a business's folder")
    profile = profile_of(folder)
    if not (folder / "domain.py").exists() and (folder / OVERLAY).exists():
        return _configured(folder, profile)
    module = _module(folder, "domain")
    operations = cast("Mapping[str, Operation]", _offered(module, "OPERATIONS"))
    try:
        intents = load_intents(folder / "intents.yaml", operations=operations)
    except IntentsInvalid as error:
        raise DomainInvalid(f"{folder}: {error}") from error
    return Domain(
        folder,
        profile,
        operations,
        intents,
        _offered(module, "open_books"),
        demo=bool(profile.demo) or (folder / "demo_accounts.py").exists(),
        lexicon=getattr(module, "LEXICON", Lexicon()),
        advice=_advice(folder, operations),
        answered=_answered(folder),
    )


def _configured(folder: Path, profile: Profile) -> Domain:
    """A business of files alone: what it can do is in ``operations.yaml``."""
    # What reaches other systems is loaded where a business has some, so that a look-up is quick where none has.
    from app.configured import read_business

    try:
        business = read_business(folder, profile)
    except FilesInvalid as error:
        raise DomainInvalid(f"{folder}:\n{error}") from error
    operations = business.operations
    waiting = business.overlay.waiting
    try:
        intents = load_intents(folder / "intents.yaml", operations=operations, waiting=waiting)
    except IntentsInvalid as error:
        raise DomainInvalid(f"{folder}: {error}") from error
    return Domain(
        folder,
        profile,
        operations,
        intents,
        business.open_books,
        demo=bool(profile.demo),
        lexicon=business.lexicon,
        advice=_advice(folder, operations),
        answered=_answered(folder),
    )


def _advice(folder: Path, operations: Mapping[str, Operation]) -> CaseBook | None:
    """What is said to problems, where the domain declares some."""
    file = folder / "cases.yaml"
    if not file.exists():
        return None
    try:
        return load_cases(file, operations)
    except CasesInvalid as error:
        raise DomainInvalid(f"{folder}: {error}") from error


def _answered(folder: Path) -> tuple[Answered, ...]:
    """The questions whose answers are known, where the domain has some."""
    try:
        return load_questions(folder / QUESTIONS)
    except QuestionsInvalid as error:
        raise DomainInvalid(f"{folder}: {error}") from error


def profile_of(folder: Path) -> Profile:
    """What ``domain.yaml`` says. Raises DomainInvalid."""
    file = folder / "domain.yaml"
    try:
        given = file.read_bytes()
    except OSError as error:
        raise DomainInvalid(f"{file} cannot be read: a domain begins with this file") from error
    try:
        read, unset = with_environment(read_file(given, file.name), environment())
        if unset:
            raise FilesInvalid(unset)
        return validated(Profile, read)
    except FilesInvalid as error:
        raise DomainInvalid(f"{file.parent}:\n{error}") from error


def _module(folder: Path, name: str) -> ModuleType:
    """A Python module of the folder; where the folder is a package of ours, under its usual name."""
    file = folder / f"{name}.py"
    if not file.exists():
        raise DomainInvalid(f"{file} is missing: it offers OPERATIONS and open_books")
    if folder.parent == ROOT / "domains":
        return importlib.import_module(f"domains.{folder.name}.{name}")
    package = _package(folder)
    return importlib.import_module(f"{package}.{name}")


def _package(folder: Path) -> str:
    """The folder as a package under a name of its own, so that its modules find each other relatively."""
    name = f"signalbox_domain_{zlib.crc32(str(folder).encode()):08x}"
    if name not in sys.modules:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return name


def _offered(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        raise DomainInvalid(f"{module.__file__} does not define {name}") from None
