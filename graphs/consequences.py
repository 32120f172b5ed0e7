"""How an operation that nobody declared is shown to the consequence head: one text, and the signs in it.

The head reads the text's sentence vector beside these signs. Signs are found in all of the text, however
long it is, so that a harmless name does not hide what the description admits to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tools.values import Consequence, Operation

#: The head's classes, mildest first.
CLASSES = tuple(c.value for c in Consequence if c is not Consequence.UNKNOWN)

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+")


def words(text: str) -> list[str]:
    """The words of a name or a sentence, camelCase and snake_case taken apart."""
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", text))]


_VERBS = {
    "read": """
        get list show find search look lookup read fetch retrieve view check describe count query browse
        display return calculate compute estimate preview compare validate inspect track see summarize
        download poll watch tell provide obtain discover translate suggest explain determine quote""",
    "change": """
        set update change modify edit rename configure enable disable pause resume lock unlock mark assign
        adjust move replace restore activate deactivate reset apply protect link unlink attach detach tag
        refresh reindex sync rotate upsert patch put overwrite swap turn mute subscribe unsubscribe pin
        connect disconnect play stop restart reboot scale migrate save store put login logout manage""",
    "add": """
        create add post send book reserve schedule submit insert register start run trigger invite issue
        generate import upload initiate join publish resend reply write notify dial email broadcast append
        open begin copy clone duplicate enqueue execute forward hold install launch make provision raise
        record request share investigate verify deploy push escalate call hail""",
    "grave": """
        delete remove cancel purge erase destroy drop wipe revoke terminate unregister void refund transfer
        pay charge capture withdraw deposit buy purchase rent sell close reject decline expire approve
        confirm finalize ship dispatch fulfill kill discard clear truncate disburse donate wire debit block
        ban suspend deprovision release grant sign accept merge anonymize redeem settle waive
        spend throw give dispense evict archive reverse undo hire""",
}


def _forms(verb: str) -> tuple[str, ...]:
    """The forms in which a text says that it does this: pays, paying; not those that say it was done."""
    third = verb[:-1] + "ies" if verb.endswith("y") and verb[-2] not in "aeou" else verb + "s"
    if verb.endswith(("s", "sh", "ch", "x", "o")):
        third = verb + "es"
    stem = verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb
    return verb, third, f"{stem}ing", f"{verb}{verb[-1]}ing"


_KINDS: dict[str, tuple[str, str]] = {
    form: (kind, verb)
    for kind, verbs in _VERBS.items()
    for verb in verbs.split()
    for form in _forms(verb)
}
_SENTENCE = re.compile(r"[.!?:;\n]+")
#: After these a clause may begin with its verb.
_JOINS = frozenset(
    {"and", "then", "or", "to", "also", "it", "that", "which", "will", "can", "would"}
)
#: After a verb in the third person these begin what it is done to: "deletes the", not "deletes per day".
_OBJECTS = frozenset(
    words(
        """the a an all any every everything everyone it them this that these those its his her their your our
    my what whatever whole old new money funds data each both one two"""
    )
)
_SAYS_WRITE = frozenset({"delete", "put", "patch"})
#: Nouns and adjectives as often as verbs where a name begins.
_NOT_ALONE = frozenset(
    words(
        """open set request share record book post block copy pin tag sign import purchase transfer refund
    charge pay deposit release issue move play restore trigger"""
    )
)
#: What saying outright that it does a thing of this kind amounts to, gravest first.
_AMOUNTS_TO = {
    "grave": Consequence.IRREVERSIBLE,
    "add": Consequence.RETRY_UNSAFE,
    "some": Consequence.RETRY_UNSAFE,
    "change": Consequence.RETRY_SAFE,
}
#: Who does what follows, where it is not the sentence's beginning.
_SUBJECTS = frozenset({"and", "then", "it", "also", "which", "tool", "call", "operation"})
#: After a verb that nobody listed, only these are sure to be what it is done to.
_DETERMINED = _OBJECTS - frozenset(
    {"that", "this", "these", "those", "data", "each", "both", "new"}
)
#: Said of reads, beside the verbs of reading.
_HARMLESS = frozenset(
    words(
        """is has was does its this as takes uses needs requires allows supports lets helps contains includes
        represents specifies gives means matches filters sorts works happens holds covers answers reads
        analyzes analyses performs parses converts ranks groups reports states says names details status
        across always plus less unless besides towards us follows shows applies exists depends expands
        enables offers converts accepts serves looks belongs"""
    )
)


_RELATIVE = frozenset(
    words(
        "nothing none that which who if whether when where while how what once after before until as"
    )
)
#: What was done to something, where a sentence says that it will be.
_DONE = {
    form: kind
    for kind, verbs in _VERBS.items()
    if kind != "read"
    for verb in verbs.split()
    for form in (f"{verb.removesuffix('e')}ed", f"{verb}{verb[-1]}ed")
} | {"sent": "add", "paid": "grave", "sold": "grave", "bought": "grave", "gone": "grave"}


def _may_act(word: str) -> bool:
    """A verb in the third person that nobody listed: it does something, and who knows what."""
    return (
        word.endswith("s")
        and not word.endswith("ss")
        and len(word) > 3
        and word not in _KINDS
        and word not in _HARMLESS
    )


def _is_verb(word: str, after: str) -> bool:
    """ "Refunds the order" does something; "refunds of an order" are things."""
    known = _KINDS.get(word)
    if known is None:
        return False
    return not word.endswith("s") or word == known[1] or known[0] == "read" or after in _OBJECTS


def described(
    name: str, description: str = "", method: str | None = None, arguments: Sequence[str] = ()
) -> str:
    """The one text an operation is classed by."""
    lines = [f"name: {' '.join(words(name))}"]
    if method:
        lines.append(f"method: {' '.join(words(method))}")
    lines.append(f"description: {' '.join(description.split())}")
    if arguments:
        lines.append(f"arguments: {', '.join(' '.join(words(one)) for one in arguments)}")
    return "\n".join(lines)


def of_operation(operation: Operation) -> str:
    """The text of one of our own operations, from what it says about itself."""
    names = list(operation.arguments.model_fields)
    summary = f"{operation.title}. {operation.summary}"
    return described(operation.name, summary, operation.method, names)


def signs(text: str) -> frozenset[str]:
    """What stands in the text of an operation: its words by place, and the kinds of verbs among them."""
    parts = dict(line.split(": ", 1) for line in text.split("\n") if ": " in line)
    name = words(parts.get("name", ""))
    found = {f"method:{parts.get('method', 'none')}"}
    found |= {f"name:{_base(word)}" for word in name}
    found |= {f"name kind:{kind}" for kind in _kinds(name)}
    found |= {f"name first:{kind}" for kind in _kinds(_without_method(name)[:1]) or ("none",)}
    description = parts.get("description", "")
    sentences = [found_words for s in _SENTENCE.split(description) if (found_words := words(s))]
    if not sentences:
        found.add("description:none")
    for place, sentence in enumerate(sentences):
        found |= {f"word:{_base(word)}" for word in sentence if word in _KINDS}
        verbs = [word for word, after in pairwise([*sentence, ""]) if _is_verb(word, after)]
        if place == 0:
            opening = sentence[0]
            does = verbs[:1] == [opening]
            found.add(f"opens:{_base(opening) if does else opening}")
            kinds = _kinds([opening]) if does else []
            found |= {f"opens kind:{kind}" for kind in kinds or ("none",)}
        clauses = [w for before, w in pairwise(["and", *sentence]) if before in _JOINS]
        found |= {f"clause kind:{kind}" for kind in _kinds(clauses)}
        # "Cancels the": a verb in the third person is said of the operation itself.
        found |= {f"does:{k}" for w in sentence if w.endswith("s") for k in _kinds([w])}
    found |= {f"argument:{word}" for word in words(parts.get("arguments", ""))}
    return frozenset(found)


def opening(sentence: str) -> Consequence | None:
    """What the verb that a title or a path begins with amounts to: "Cancel Order Transfer", "void".

    Weaker than ``admits``, for "Transfer history" begins so too: good for a proposal, not for a verdict."""
    first = words(sentence)[:1]
    kinds = _kinds(first) if first and first[0] == _base(first[0]) else []
    return _AMOUNTS_TO.get(kinds[0]) if kinds else None


def admits(text: str) -> Consequence | None:
    """The class of what the text says outright that the operation does, whatever else it says.

    A rule beside the model: no number of reassuring words around them outweighs "deletes the"."""
    parts = dict(line.split(": ", 1) for line in text.split("\n") if ": " in line)
    found: set[str] = set()
    if parts.get("method") in _SAYS_WRITE:
        found.add("grave" if parts["method"] == "delete" else "change")
    name = _without_method(words(parts.get("name", "")))
    if len(name) > 1 and name[0] not in _NOT_ALONE and name[0] == _base(name[0]):
        kinds = set(_kinds(name[:1]))
        # "deploy_logs_get" names its subject first; "delete_logs_get" is not believed.
        found |= kinds & {"grave"} if "read" in _kinds(name) else kinds
    for sentence in _SENTENCE.split(parts.get("description", "")):
        said = words(sentence)
        for before, word, after in zip(["and", *said], said, said[1:], strict=False):
            if after not in _OBJECTS:
                continue
            if word.endswith("s") and word != _base(word):
                found |= set(_kinds([word]))
            elif before in _SUBJECTS and after in _DETERMINED and _may_act(word):
                found.add("some")
        if len(said) > 1 and said[0] == _base(said[0]) and said[1] in _OBJECTS:
            found |= set(_kinds(said[:1]))
        # "The data will be removed", not "until when it can be cancelled" or "orders that are cancelled".
        for first, second, word in zip(["", *said], said, said[1:], strict=False):
            if (first, second) == ("will", "be") or (
                second in ("is", "are", "gets") and first not in _RELATIVE
            ):
                found |= {_DONE[word]} if word in _DONE else set()
        if any(not word.isascii() for word in said):
            # Another language, or letters that only look like ours: the head cannot read it.
            found.add("some")
    return next((c for kind, c in _AMOUNTS_TO.items() if kind in found), None)


@dataclass(frozen=True)
class Judged:
    """What the head and the rule beside it make of an operation."""

    consequence: Consequence  #: The best guess; never ``unknown``.
    write: bool  #: It is treated as a write: when in doubt it is one.
    sure: bool  #: Sure enough of the class that nobody else is asked.
    probability: float  #: Calibrated; of being a read, or of the class of the write.
    reason: str

    @property
    def floor(self) -> Consequence:
        """What nobody who is asked afterwards may go below: a write stays a write."""
        if self.sure or not self.write:
            return self.consequence
        return Consequence.RETRY_SAFE


def settle(
    probabilities: Mapping[str, float], text: str, *, line: float, believed: float
) -> Judged:
    """``line``: the chance of a write from which on it counts as one. ``believed``: the probability from
    which on the class of a write is taken as it is."""
    said = admits(text)
    safe = probabilities[Consequence.SAFE]
    if said is None and 1.0 - safe < line:
        return Judged(Consequence.SAFE, False, True, safe, "It reads, as far as its text tells.")
    likeliest = Consequence(max(CLASSES[1:], key=lambda c: probabilities[c]))
    sure = probabilities[likeliest] >= believed
    if said is None:
        reason = "It may write." if not sure else f"It writes: {likeliest.value}."
        return Judged(likeliest, True, sure, probabilities[likeliest], reason)
    graver = max(likeliest, said, key=lambda c: CLASSES.index(c.value))
    # The gravest class needs no second opinion: a person looks at it anyway.
    sure = (sure and graver is likeliest) or said is Consequence.IRREVERSIBLE
    return Judged(graver, True, sure, probabilities[graver], "Its own text says that it writes.")


def _kinds(found: Iterable[str]) -> list[str]:
    return sorted({_KINDS[word][0] for word in found if word in _KINDS})


def _base(word: str) -> str:
    return _KINDS[word][1] if word in _KINDS else word


def _without_method(name: list[str]) -> list[str]:
    # "PostOrdersIdCancel": the method in front says less than the word at the end.
    return name[1:] if len(name) > 1 and name[0] in {"post", "put", "patch"} else name
