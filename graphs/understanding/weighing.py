"""What the words themselves, the records they name and the turn before do to the chances that the heads give."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from graphs.context import Context
from graphs.state import SupportState
from graphs.understanding import dialogue
from graphs.understanding.acts import dealt_out
from graphs.understanding.clauses import AROUND, mentions
from graphs.understanding.grounding import Memory, Said, ground
from graphs.understanding.words import alike, folded, tokens
from tools.reading import Spans
from tools.records import RecordView

#: What was wanted before lends a short message its meaning from here on, and by so much.
_UNSURE, _LENT, _SHORT = 0.5, 0.6, 9


_POSSIBLE = 0.03


def lent(
    chances: dict[str, float],
    text: str,
    state: SupportState,
    context: Context,
    references: Sequence[object] = (),
    views: Sequence[RecordView] = (),
) -> dict[str, float]:
    """A short message that says little for itself goes on with what was wanted before it; so does one that puts
    another thing in the place of what was talked about."""
    wanted, unclear = state.get("wanted", ""), state.get("unclear", "")
    best = max(chances, key=chances.__getitem__)
    points = len(tokens(text)) <= _SHORT and any(which != "none" for which in references)
    if (unclear or wanted) in chances and only_names(text, _of(unclear or wanted, views, context)):
        return _mixed(chances, unclear or wanted, _CORRECTED)
    if wanted in chances and (dialogue.again_for(text) or (chances[best] < _SURELY and points)):
        return _mixed(chances, wanted, _CORRECTED)
    if wanted in chances and chances[best] < _SURELY and _corrects(text):
        if _names_another_change(text, wanted, context):
            return chances
        return _mixed(chances, wanted, _CORRECTED)
    if (
        chances.get(wanted, 0.0) < _POSSIBLE
        or chances[best] >= _UNSURE
        or len(tokens(text)) > _SHORT
        or context.intents.get(best).role in ("affirm", "deny", "leave", "courtesy")
    ):
        return chances
    return _mixed(chances, wanted, _LENT)


def _mixed(chances: Mapping[str, float], wanted: str, share: float) -> dict[str, float]:
    lent = {name: chance * (1 - share) for name, chance in chances.items()}
    lent[wanted] += share
    return lent


#: A correction goes on with what was wanted, unless it surely wants something else.
_CORRECTED, _SURELY = 0.8, 0.7


_CORRECTION = re.compile(
    r"^(?:(?:no|nope|hm+|wait|sorry|oh|actually|ok|nein|ne|moment|doch|non|pas|attends|espera|aspetta|nee|wacht)[, .!]+)*"
    r"(?:(?:no|not|wait|i mean|i meant|sorry|actually|rather|the other|instead|nein|nicht|ich meine|ich meinte|doch|non|pas|"
    r"je veux dire|digo|quiero decir|intendo|nee|ik bedoel)\b|the other one|die andere)"
)


def _corrects(text: str) -> bool:
    """Whether a short message only puts one thing in the place of another."""
    return len(tokens(text)) <= _SHORT and _CORRECTION.match(folded(text).strip()) is not None


def _names_another_change(text: str, wanted: str, context: Context) -> bool:
    """Whether a change is named that is not the one wanted before: "no wait, undo that"."""
    said = tokens(text)
    return not mentions(said, context.intents.get(wanted).verbs) and any(
        mentions(said, one.verbs) for one in context.intents.intents
    )


#: Words that stand around a thing and say nothing of what is wanted with it.
_AROUND = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "my", "our", "i", "we", "it", "one", "ones", "mean",
    "meant", "ok", "okay", "then", "and", "also", "too", "as", "well", "but", "no", "not", "nope", "wait", "hmm",
    "hm", "oh", "sorry", "please", "pls", "actually", "rather", "instead", "after", "all", "other", "for", "with",
    "of", "is", "was", "it's", "its", "i'm", "just", "only", "talking", "about", "both", "ah", "so", "fine", "yes",
    "der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "mein", "meine", "meinen",
    "meins", "ich", "wir", "meinte", "doch", "nein", "ne", "nee", "nicht", "sondern", "lieber", "dann", "und",
    "auch", "noch", "bitte", "ach", "halt", "moment", "aber", "mit", "von", "fur", "furs", "beim", "vom", "le", "la", "les", "un", "une",
    "mon", "ma", "mes", "non", "pas", "plutot", "et", "aussi", "el", "los", "las", "mi", "mis", "digo", "y", "il",
    "lo", "gli", "mio", "mia", "het", "de", "een", "mijn", "niet",
})  # fmt: skip


def only_names(text: str, views: Sequence[RecordView]) -> bool:
    """Whether a message names a thing of the customer's and says nothing else: "no wait, the pack"."""
    said = tokens(text)
    names = [
        word
        for view in views
        for item in view.items
        for n in (item.name, *item.words)
        for word in tokens(n)
    ]
    names += [w for view in views for n in view.words if n not in view.called for w in tokens(n)]
    kinds = {view.kind for view in views}
    left = [word for word in said if word not in _AROUND and not any(alike(word, k) for k in kinds)]
    return bool(left) and all(any(alike(word, name) for name in names) for word in left)


def _of(wanted: str, views: Sequence[RecordView], context: Context) -> list[RecordView]:
    """The records that hold things, and those that what was wanted is about."""
    kinds = context.intents.get(wanted).records
    return [view for view in views if view.items or view.kind in kinds]


#: What a write gains whose own word is said, and not forbidden or asked about.
_VERB = 2.5
#: So much of its chances a message gives to the write whose phrase stands around a thing of the customer's.
_PHRASED = 0.8


def by_verb(chances: dict[str, float], text: str, context: Context) -> dict[str, float]:
    """The chances where the customer says the word itself: "refund 10455 pls"."""
    if dialogue.asks(text) and not dialogue.requests(text):
        return chances
    said = tokens(text)
    weighed = {
        name: chance * (_VERB if mentions(said, context.intents.get(name).verbs) else 1.0)
        for name, chance in chances.items()
    }
    return dealt_out(weighed, chances)


def by_phrase(
    chances: dict[str, float], text: str, views: Sequence[RecordView], context: Context
) -> dict[str, float]:
    """The chances where a write is called by a phrase around something, and a thing of the customer's is named: "take the
    mat out"."""
    if dialogue.asks(text) and not dialogue.requests(text):
        return chances
    said = tokens(text)
    told = [
        one.name
        for one in context.intents.intents
        if mentions(said, [verb for verb in one.verbs if AROUND in verb])
    ]
    things = [
        word for v in views for i in v.items for n in (i.name, *i.words) for word in tokens(n)
    ]
    if not told or not any(alike(word, thing) for word in said for thing in things):
        return chances
    return _mixed({told[0]: 0.0, **chances}, told[0], _PHRASED)


#: A message of more words that follows no question is more than a yes or a no.
_CURT = 8


def unasked(
    chances: dict[str, float], text: str, pending: Sequence[object], context: Context
) -> dict[str, float]:
    """The chances of a message that follows no question: what tells a whole story agrees to nothing and declines nothing."""
    if pending or len(tokens(text)) <= _CURT:
        return chances
    left = {
        n: 0.0 if context.intents.get(n).role in ("affirm", "deny") else p
        for n, p in chances.items()
    }
    return dealt_out(left, chances)


def asking(chances: dict[str, float], text: str, context: Context) -> dict[str, float]:
    """The chances of a question: nobody agrees by asking."""
    if not dialogue.asks(text):
        return chances
    left = {n: 0.0 if context.intents.get(n).role == "affirm" else p for n, p in chances.items()}
    return dealt_out(left, chances)


#: So much of its chances a message that asks for a person outright gives to that.
_PERSON = 0.8


def by_person(chances: dict[str, float], text: str, context: Context) -> dict[str, float]:
    """The chances where a person is asked for in so many words, whatever else is told."""
    names = context.intents.of_role("person")
    if not names or not dialogue.wants_person(text):
        return chances
    return _mixed({names[0]: 0.0, **chances}, names[0], _PERSON)


#: So much of its chances a message that takes everything back gives to leaving it.
_DROPPED = 0.9


def dropped(chances: dict[str, float], context: Context) -> dict[str, float]:
    """The chances of a message that ends with taking back what it asked for."""
    leaves = context.intents.of_role("leave")
    return _mixed({leaves[0]: 0.0, **chances}, leaves[0], _DROPPED) if leaves else chances


def _bare(contact: str) -> str:
    """A mail address or telephone number without what people write differently."""
    return re.sub(r"[^\w@.]", "", contact.casefold()).removeprefix("00")


#: What an intent gains that takes a value of a kind the message holds.
_VALUE = 4.0


def by_value(chances: dict[str, float], spans: Spans, context: Context) -> dict[str, float]:
    """The chances where the message holds an address, a mail address or a telephone number to take."""
    known = {_bare(context.customer.email), _bare(context.customer.phone or "")}
    held = {
        kind
        for kind, found in (
            ("address", spans.addresses),
            ("email", [s for s in spans.emails if _bare(s.text) not in known]),
            ("phone", [s for s in spans.phones if _bare(s.text) not in known]),
        )
        if found
    }
    if not held:
        return chances
    weighed = {
        name: chance * (_VALUE if held & set(context.intents.get(name).values) else 1.0)
        for name, chance in chances.items()
    }
    return dealt_out(weighed, chances)


#: Not somebody's name, although an 's follows: times, pronouns, groups of people.
_NOBODYS = frozenset({
    "today", "yesterday", "tomorrow", "tonight", "week", "month", "year", "night", "morning", "monday",
    "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "january", "february", "march", "april",
    "may", "june", "july", "august", "september", "october", "november", "december", "spring", "summer",
    "autumn", "winter", "christmas", "easter", "it", "that", "there", "this", "what", "who", "where", "when",
    "here", "let", "he", "she", "how", "one", "everyone", "someone", "company", "customer", "shop", "store",
    "men", "women", "kid", "kids", "child", "children", "man", "woman", "mother", "father", "day", "you", "we",
    "they", "i", "not", "do", "my", "our", "your", "the",
})  # fmt: skip
_SOMEBODYS = re.compile(r"\b([^\W\d_]{2,})['’]s\s+(?:[^\W\d_]+\s+)?([^\W\d_]+)")
_SOMEBODY_HAS = re.compile(
    r"\b(?:does|did|has) ([^\W\d_]{2,}) (?:have|order|ordered|buy|bought|own|pay|paid|spend|spent)\b"
)
_RELATION = (
    r"(?:wife|husband|partner|girlfriend|boyfriend|mother|father|mum|mom|dad|son|daughter|brother|sister|neighbou?r|friend|"
    r"colleague|frau|mann|mutter|vater|sohn|tochter|bruder|schwester|nachbar\w*|freund\w*|kolleg\w*)"
)
#: Who writes for somebody: "it's ben's wife"; and what somebody else has: "his parcel", "she ordered".
_SPEAKS_FOR = re.compile(
    rf"\b(?:i'?m|i am|it'?s|this is|hier ist)\s+[^\W\d_]{{2,}}['’]?s\s+{_RELATION}\b"
)
#: Who writes in somebody's place asks for that person's records, whatever they want of them.
_ON_BEHALF = re.compile(
    rf"\b(?:ich schreibe (?:\w+ )?(?:fur|wegen)|im namen|im auftrag|(?:writing|asking|calling|contacting you) (?:for|on behalf of)|on behalf of)"
    rf"\s+(?:my|mein\w*|unser\w*)\s+{_RELATION}\b"
)
_THEIRS = re.compile(r"\b(?:his|her|seine[rnms]?)\s+([^\W\d_]+)(?:\s+([^\W\d_]+))?")
_THEY_BOUGHT = re.compile(
    r"\b(?:he|she|er|sie)(?:'s| has| had| hat)?\s+(?:ordered|bought|bestellt|gekauft)\b"
)
#: So much of its chances a message about somebody else's records takes from what it would be of one's own.
_ANOTHERS = 0.8


def by_owner(
    chances: dict[str, float], text: str, views: Sequence[RecordView], context: Context
) -> dict[str, float]:
    """The chances where the records of somebody who is named are asked for: "which orders does Ben have"."""
    others = context.intents.of_role("other_person")
    if not others or not (
        _of_somebody(text, views, context)
        or (_ON_BEHALF.search(folded(text)) and not _own_thing(text, views))
        or (_only_asks(chances, context) and _theirs(text, views, context))
    ):
        return chances
    best = max(others, key=lambda name: chances.get(name, 0.0))
    return _mixed({best: 0.0, **chances}, best, _ANOTHERS)


def _of_somebody(text: str, views: Sequence[RecordView], context: Context) -> bool:
    plain = folded(text)
    kinds = [word for words in context.lexicon.kinds.values() for word in words]
    own = {*tokens(context.customer.name)} | {
        word for view in views for item in view.items for word in tokens(item.name)
    }

    def somebody(word: str) -> bool:
        return word not in _NOBODYS | own and not mentions([word], kinds)

    names = [
        name for name, thing in _SOMEBODYS.findall(plain) if mentions([thing], [*kinds, "account"])
    ]
    if mentions(tokens(text), kinds):
        names += _SOMEBODY_HAS.findall(plain)
    return any(somebody(name) for name in names)


def _only_asks(chances: Mapping[str, float], context: Context) -> bool:
    """Whether the likeliest wish only tells: who has a relative's card blocked means one of their own account."""
    best = context.intents.get(max(chances, key=chances.__getitem__))
    operation = context.operations.get(best.operation or "")
    return best.role is None and (operation is None or not operation.writes) and best.case is None


def _theirs(text: str, views: Sequence[RecordView], context: Context) -> bool:
    """Whether somebody speaks for another customer, or of what another one has or bought."""
    plain = folded(text)
    kinds = [word for words in context.lexicon.kinds.values() for word in words]
    if _SPEAKS_FOR.search(plain):
        return True
    if any(mentions(things, [*kinds, "account"]) for things in _THEIRS.findall(plain)):
        return True
    return _THEY_BOUGHT.search(plain) is not None and not _own_thing(text, views)


def _own_thing(text: str, views: Sequence[RecordView]) -> bool:
    """Whether the text names something that the customer ordered: a present is still theirs."""
    own = {word for view in views for item in view.items for word in tokens(item.name)}
    return bool(own & {*tokens(text)})


#: What an intent loses that is about records of another kind than the one that was named, or that is not owned.
_OTHER_KIND, _NOT_OWNED = 0.1, 0.5


def by_kind(
    chances: dict[str, float], said: Said, views: Sequence[RecordView], context: Context
) -> dict[str, float]:
    """The chances where a record was named: what is about records of other kinds is hardly meant."""
    if not views:
        return chances
    kinds, parents = {v.id: v.kind for v in views}, {v.id: v.parent for v in views}
    numbers = [number for number in said.numbers if number in kinds]
    near = {kinds[n] for n in numbers} | {
        kind
        for id, kind in kinds.items()
        if parents[id] in numbers or id in _above(numbers, parents)
    }
    owned = set(kinds.values())

    def weight(name: str) -> float:
        records = set(context.intents.get(name).records)
        if not records:
            return 1.0
        if numbers and not records & near:
            return _OTHER_KIND
        return 1.0 if records & owned else _NOT_OWNED

    weighed = {name: chance * weight(name) for name, chance in chances.items()}
    return dealt_out(weighed, chances)


#: What a case gains or loses whose usual states the named thing is, or is not, in: boots that are on their way
#: are hardly too small, and a mat that was delivered is not late.
_FITS_STATE, _OTHER_STATE = 1.5, 0.4


def by_state(
    chances: dict[str, float], said: Said, views: Sequence[RecordView], context: Context
) -> dict[str, float]:
    """The chances of the cases where the customer names a thing of theirs: its record is in one state."""
    cases = [one for one in context.intents.intents if one.problem and one.first]
    kinds = {kind for one in cases for kind in one.records}
    found = ground(said, views, kinds, lexicon=context.lexicon, memory=Memory())
    if found.how != "named" or not found.records:
        return chances
    states = {(view.kind, view.state) for view in views if view.id in found.records}
    of_kinds = {kind for kind, _ in states}
    weights = {
        one.name: _FITS_STATE
        if any(kind in one.records and state in one.first for kind, state in states)
        else _OTHER_STATE
        for one in cases
        if of_kinds & {*one.records}
    }
    # Which of the cases it is changes, and not whether it is one.
    among = {name: chances[name] for name in weights if name in chances}
    return {**chances, **dealt_out({n: p * weights[n] for n, p in among.items()}, among)}


def _above(numbers: Sequence[str], parents: Mapping[str, str | None]) -> set[str | None]:
    return {parents[number] for number in numbers} - {None}
