"""Everything that is wrong or weak about a domain's folder, found at once."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from app.configured import Business, read_business
from app.domains import OVERLAY, DomainInvalid, load_domain, profile_of, replies_of
from tools.domain import Profile
from tools.importing.overlay import Operation as Declared
from tools.importing.overlay import Overlay, Text
from tools.importing.problems import FilesInvalid, Problem
from tools.importing.yaml_files import Read, read_file, validated
from tools.intents import Intents, IntentsInvalid, load_intents
from tools.questions import QUESTIONS, QuestionsInvalid, load_questions

FEWEST_EXAMPLES = 8
#: Examples of one intent that share so much of their words say the same thing.
ALIKE = 0.8
_WORD = re.compile(r"[^\W\d_]{3,}")


def check_folder(folder: Path) -> list[Problem]:
    """Grave problems keep the domain from being loaded; the others deserve a look."""
    try:
        profile = profile_of(folder)
    except DomainInvalid as error:
        return [Problem("domain.yaml", str(error))]
    if (folder / "domain.py").exists():
        return _in_python(folder)
    if not (folder / OVERLAY).exists():
        return [Problem(OVERLAY, "is missing: it says what the agent can do")]
    problems: list[Problem] = []
    business: Business | None = None
    try:
        business = read_business(folder, profile)
    except FilesInvalid as error:
        problems += error.problems
    read = read_file((folder / OVERLAY).read_bytes(), OVERLAY)
    try:
        overlay = validated(Overlay, read)
    except FilesInvalid:
        return problems
    problems += _about_operations(overlay, read, profile)
    if business is not None:
        problems += _refused(business)
    problems += [*_about_intents(folder, overlay, business), *_about_questions(folder)]
    return sorted(problems, key=lambda each: (not each.grave, each.file, each.line or 0))


def _in_python(folder: Path) -> list[Problem]:
    """What is wrong or weak about a folder whose operations are written in Python."""
    try:
        domain = load_domain(folder)
    except DomainInvalid as error:
        return [Problem("domain.py", str(error))]
    served = {one.operation for one in domain.intents.intents}
    unserved = [name for name in domain.operations if name not in served]
    missing = [
        Problem("replies", f"{name} is missing in {language}")
        for language in domain.profile.languages
        for name in replies_of(domain).missing(language)
    ]
    return [
        *missing,
        *(_unserved(name) for name in unserved),
        *_about_examples(domain.intents, folder),
        *_about_questions(folder),
    ]


def _about_questions(folder: Path) -> Iterator[Problem]:
    """Known questions that nothing answers any more: their article is gone, or says it otherwise."""
    try:
        answered = load_questions(folder / QUESTIONS)
    except QuestionsInvalid as error:
        yield Problem(QUESTIONS, str(error))
        return
    texts: dict[
        str, list[str]
    ] = {}  # An article has its translations and others of its name beside it.
    for file in (folder / "knowledge").rglob("*.md"):
        said = " ".join(file.read_text("utf-8", errors="replace").split())
        texts.setdefault(file.stem, []).append(said)
    for one in answered:
        lacking = (
            [s for s in one.sentences if " ".join(s.split()) not in said]
            for said in texts.get(one.article, [""])
        )
        lost = min(lacking, key=len)
        if lost:
            text = (
                f"{one.article} does not say {lost[0]!r}, so that {len(one.questions)} questions like "
                f"{one.questions[0]!r} find no answer: put the sentence as it stands in the article"
            )
            yield Problem(QUESTIONS, text, grave=False)


def _unserved(operation: str) -> Problem:
    text = f"no intent starts {operation}: customers can only reach it in a plan"
    return Problem("intents.yaml", text, grave=False)


def _about_operations(overlay: Overlay, read: Read, profile: Profile) -> Iterator[Problem]:
    for name, kind in overlay.records.items():
        if kind.proposed:
            text = f"{name}: this kind of record is proposed and not confirmed, so it does not exist for the agent"
            yield read.problem(["records", name, "proposed"], text, grave=False)
    for name, one in overlay.operations.items():
        here = ["operations", name]
        if one.declared is None:
            text = f"{name}: its class is proposed and not confirmed, so it does not exist for the agent"
            yield read.problem([*here, "consequence"], text, grave=False)
        for what, text in _texts(one):
            lacking = _lacking(text, profile.languages)
            if lacking:
                said = f"{name}: {what} is missing in {', '.join(lacking)}"
                yield read.problem([*here, what.split(" ")[0]], said, grave=False)
        if one.write is not None and not one.effects:
            said = f"{name}: give `effects`: it is what customers say yes to"
            yield read.problem(here, said, grave=False)
        if one.write is not None and one.write.lookup == "person":
            said = f"{name}: a lost answer waits for a person each time"
            yield read.problem([*here, "write"], said, grave=False)
        yield from _telltale_options(name, one, read)


def _texts(one: Declared) -> Iterator[tuple[str, Text]]:
    yield "title", one.title
    for argument, text in one.ask.items():
        yield f"ask {argument}", text
    for effect in one.effects:
        yield "effects", effect
    for refusal in one.refuse:
        yield "refuse", refusal.say


def _lacking(text: Text, languages: tuple[str, ...]) -> list[str]:
    given = (languages[0],) if isinstance(text, str) else tuple(text)
    return [one for one in languages if one not in given]


def _telltale_options(name: str, one: Declared, read: Read) -> Iterator[Problem]:
    """An option that shares a word with the operation's name is read out of the request itself."""
    own = set(name.split("_"))
    for argument in dict.fromkeys([*one.arguments, *one.ask]):
        for option, sayings in one.said(argument).synonyms.items():
            shared = own & {
                w.casefold() for s in (option, *sayings) for w in _WORD.findall(s.replace("_", " "))
            }
            if shared:
                text = (
                    f"{name}: the option {option!r} of {argument} shares {', '.join(sorted(shared))!r} with the "
                    "operation's name, so every request for it looks like that option: say it in other words"
                )
                yield read.problem(["operations", name, "arguments", argument], text, grave=False)


def _refused(business: Business) -> Iterator[Problem]:
    for document in business.documents.values():
        for called, why in document.refused.items():
            yield Problem(document.name, f"{called} cannot be used: {why}", grave=False)
    for name, built in business.built.items():
        for argument, shape in built.shapes.items():
            pattern = shape.schema.get("pattern")
            if isinstance(pattern, str) and _matches_words(pattern):
                text = (
                    f"{name}: the pattern of {argument}, {pattern}, takes ordinary words for values"
                )
                yield business.read.problem(["operations", name], text, grave=False)


def _matches_words(pattern: str) -> bool:
    import regex

    words = ("please", "cancel", "booking", "invoice", "order", "number")
    try:
        return any(regex.search(f"^(?:{pattern})$", word, timeout=0.2) for word in words)
    except (regex.error, TimeoutError):
        return False


def _about_intents(folder: Path, overlay: Overlay, business: Business | None) -> Iterator[Problem]:
    file = "intents.yaml"
    try:
        intents = load_intents(
            folder / file,
            operations=None if business is None else business.operations,
            waiting=overlay.waiting,
        )
    except IntentsInvalid as error:
        yield Problem(file, str(error))
        return
    served = {one.operation for one in intents.intents}
    for name in overlay.confirmed.operations:
        if name not in served:
            yield _unserved(name)
    yield from _about_examples(intents, folder)


def labelled_in(folder: Path) -> Counter[str]:
    """How many messages of a domain's ``examples/`` teach each intent. Raises ValueError or AttributeError where a
    line is none."""
    return Counter(
        str(json.loads(line).get("intent"))
        for file in (folder / "examples").rglob("*.jsonl")
        for line in file.read_text("utf-8").splitlines()
        if line.strip()
    )


def _about_examples(intents: Intents, folder: Path) -> Iterator[Problem]:
    file = "intents.yaml"
    try:
        labelled = labelled_in(folder)
    except (ValueError, AttributeError) as error:
        yield Problem("examples", f"a line of a .jsonl file is no labelled message: {error}")
        return
    for one in intents.intents:
        count = len(one.examples) + labelled[one.name]
        if count < FEWEST_EXAMPLES:
            text = f"{one.name} has {count} examples; {FEWEST_EXAMPLES} or more are worth it"
            yield Problem(file, text, grave=False)
        words = [Counter(w.casefold() for w in _WORD.findall(e)) for e in one.examples]
        alike = [
            (one.examples[a], one.examples[b])
            for a in range(len(words))
            for b in range(a)
            if words[a] and words[b] and _overlap(words[a], words[b]) >= ALIKE
        ]
        if alike:
            text = f"{one.name}: {alike[0][0]!r} and {alike[0][1]!r} say the same thing in the same words"
            yield Problem(file, text, grave=False)


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    return (one & other).total() / max(one.total(), other.total())
