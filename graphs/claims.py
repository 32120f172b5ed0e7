"""What a reply claims beyond what its writer was given: promises, names, links, figures. Rules, in every language that
replies are written in; they know nothing of any business."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import prompts

#: What is money or a favour, in English, German, French, Spanish, Italian, Dutch and Portuguese.
_FAVOUR = (
    r"refund\w*|reimburs\w*|compensat\w*|money\s+back|your\s+money|voucher\w*|discount\w*|coupon\w*|goodwill|credit\s+note"
    r"|store\s+credit|free\s+of\s+charge|for\s+free|waive\w*|gift\s+card\w*|promo\w*\s+code\w*"
    r"|r(?:ü|ue)ckerstatt\w*|erstatt\w*|geld\s+zur(?:ü|ue)ck|ihr\s+geld|gutschein\w*|rabatt\w*|gutschrift\w*|gutschreib\w*"
    r"|entsch(?:ä|ae)dig\w*|kostenlos\w*|kostenfrei\w*|gratis|kulanz\w*|schenk\w*"
    r"|rembours\w*|bons?\s+d['’]achat|r(?:é|e)duction\w*|d(?:é|e)dommag\w*|gratuit\w*|votre\s+argent"
    r"|reembols\w*|devoluci(?:ó|o)n\w*|descuento\w*|compensaci(?:ó|o)n\w*|su\s+dinero"
    r"|rimbors\w*|sconto|sconti|buono|buoni|risarci\w*|gratuit\w*"
    r"|terugbetal\w*|korting\w*|vergoed\w*|tegoedbon\w*"
    r"|desconto\w*|vale-presente|indeniz\w*|seu\s+dinheiro"
)
FAVOUR = re.compile(rf"\b(?:{_FAVOUR})", re.IGNORECASE)

#: Who promises, or who is promised something.
_GIVES = re.compile(
    r"""
    \b(?:i|we)\s*(?:will|'ll|’ll|can|have|'ve|’ve|am|are|shall)?\s+(?:(?:already|personally|gladly|now|just|going\s+to)\s+){0,2}
      (?:refund\w*|reimburs\w*|compensat\w*|cancel(?:led)?|replace[d]?|credit(?:ed)?|waive[d]?|guarantee|escalated|promise
        |mak(?:e|ing)\s+an\s+exception|pay(?:ing)?\s+you|giv(?:e|ing)\s+you|send(?:ing)?\s+you\s+a)\b
    | \byou(?:'re|’re|'ll|’ll|\s+are|\s+will|\s+can)?\s+(?:(?:now|be|also)\s+){0,2}
      (?:get(?:ting)?|receiv(?:e|ing)|have\s+been\s+(?:refunded|credited|granted)|expect|us(?:e|ing)|entitled\s+to|owed|refunded|compensated|credited)\b
    | \b(?:refund|money|voucher|discount|compensation|request|case|claim|code)\s+
      (?:has\s+been|was|were|will\s+be|is\s+being|is|are)\s+(?:now\s+|already\s+|being\s+)?
      (?:refunded|cancelled|approved|paid|sent|replaced|credited|granted|issued|confirmed|guaranteed|on\s+(?:its|the)\s+way|yours
        |on\s+your\s+account)\b
    | \bguarantee[ds]?\b | \bpromise[ds]?\b
    | \b(?:will|to)\s+(?:definitely|certainly|surely)\b
    | \b(?:ich|wir)\b[^.?!]{0,60}\b(?:erstatt\w*|r(?:ü|ue)ckerstatt\w*|zur(?:ü|ue)ckerstatt\w*|(?:ü|ue)berweis\w*|zur(?:ü|ue)ckzahl\w*
        |gutschreib\w*|ersetz\w*|entsch(?:ä|ae)dig\w*|garantier\w*|versprech\w*|verspreche|zusicher\w*|schenk\w*|erlass\w*|stornier\w*)
    | \bzahl\w*[^.?!]{0,60}\bzur(?:ü|ue)ck\b | \bschreib\w*[^.?!]{0,60}\bgut\b
    | \bsie\s+(?:bekommen|erhalten|kriegen|haben)\b | \b(?:bekommen|erhalten|kriegen)\s+sie\b
    | \b(?:wird|werden|wurde|wurden|ist|sind)\b[^.?!]{0,60}\b(?:erstattet|zur(?:ü|ue)ckgezahlt|gutgeschrieben|(?:ü|ue)berwiesen|genehmigt|bewilligt
        |ersetzt|storniert|garantiert|angewiesen)\b
    | \bgarantiert\b
    | \bnous\b[^.?!]{0,60}\b(?:rembours\w*|garantiss\w*|promett\w*|d(?:é|e)dommag\w*|annul\w*|offr\w*)\b
    | \bvous\s+(?:recevrez|recevez|serez|aurez|obtiendrez)\b | \bsera\s+rembours\w*
    | \b(?:le|les|te)\s+(?:reembols\w*|devolver\w*|garantiz\w*|compensar\w*|promet\w*) | \brecibir(?:á|a)\b | \bser(?:á|a)\s+reembols\w*
    | \b(?:la|le|ti|vi)\s+(?:rimbors\w*|garanti\w*|promett\w*|risarc\w*) | \bricever(?:à|ai|ete|a)\b | \bsar(?:à|a)\s+rimbors\w*
    | \b(?:we|wij|ik)\s+(?:betal\w*|vergoed\w*|garander\w*|belov\w*|annuler\w*)\b | \bu\s+(?:krijgt|ontvangt)\b
    | \b(?:vamos|iremos)\s+(?:reembols\w*|devolv\w*|compens\w*) | \breceber(?:á|a)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: When something is to happen, in words.
_WHEN = re.compile(
    r"\b(?:today|tonight|tomorrow|immediately|instantly|right\s+away|within\s+the\s+(?:hour|day)|monday|tuesday|wednesday|thursday"
    r"|friday|saturday|sunday|heute|morgen|(?:ü|ue)bermorgen|sofort|umgehend|montag|dienstag|mittwoch|donnerstag|freitag|samstag"
    r"|sonntag|aujourd['’]hui|demain|hoy|ma(?:ñ|n)ana|oggi|domani|vandaag|hoje|amanh(?:ã|a))\b",
    re.IGNORECASE,
)
#: What only a lawyer or a court may say.
_LEGAL = re.compile(
    r"\b(?:court|lawsuit|ruling|verdict|judge|liable|liability|negligen\w*|our\s+fault|sue|gericht\w*|urteil\w*|klage|haft(?:ung|en|bar)"
    r"|unsere\s+schuld|tribunal|responsabilit\w*|juzgado|giudice|rechtbank)\b",
    re.IGNORECASE,
)
#: What no reply asks a customer for.
_SECRET = re.compile(
    r"\b(?:card\s+(?:number|details)|cvv|cvc|pin|password|passcode|one[- ]time\s+code|iban|account\s+number|kartennummer|kreditkarte\w*"
    r"|passwort|kennwort|tan|kontonummer|mot\s+de\s+passe|contrase(?:ñ|n)a|wachtwoord|senha|num(?:é|e)ro\s+de\s+carte)\b",
    re.IGNORECASE,
)
_LINK = re.compile(
    r"(?:https?|ftp|javascript|data|mailto|tel):\S+|\bwww\.\S+|\b[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|info|io|de|eu|example|shop|xyz|ru|top)"
    r"(?:/\S*)?(?![\w.@-])",
    re.IGNORECASE,
)
_MAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_MARKUP = re.compile(r"<\s*/?\s*[a-z!][^>]{0,80}>|```|^\s*[{\[]\s*[\"{]|\]\(\s*\w+:", re.IGNORECASE)
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"[^\W\d_][^\W\d_]*(?:[-'’][^\W\d_]+)*")
_TITLED = re.compile(
    r"\b(?:mr|mrs|ms|dr|herr|frau|m(?:me|onsieur)|se(?:ñ|n)or(?:a)?|signor(?:a|e)?|mevrouw|meneer)\.?\s+([^\W\d_][\w’'-]+)",
    re.I,
)
_INSULT = re.compile(
    r"\b(?:idiot\w*|stupid|moron\w*|liar|pathetic|shame\s+on\s+you|dumb|fool\w*|shut\s+up|dumm\w*|bl(?:ö|oe)d\w*|l(?:ü|ue)gner\w*"
    r"|l(?:ä|ae)cherlich\w*|idiotisch\w*|halt\s+den\s+mund|imb(?:é|e)cile|est(?:ú|u)pid\w*|stupid[oa])\b",
    re.IGNORECASE,
)
_TO_BE_SAID = re.compile(r"\bsay\b|\breply with\b")
#: So many words in a row of a prompt are no coincidence.
_RECITED = 9


def figures(text: str) -> set[str]:
    """The figures of a text, whichever way thousands and decimals are marked."""
    return {re.sub(r"[.,]", "", each) for each in _FIGURE.findall(text)}


def links(text: str) -> list[str]:
    """Addresses of pages and of mail."""
    mails = _MAIL.findall(text)
    bare = _MAIL.sub(" ", text)
    return [*mails, *(found.group().rstrip(".,;:!?)") for found in _LINK.finditer(bare))]


def strange_links(text: str, given: str) -> list[str]:
    """Links and e-mail addresses that the writer was not given."""
    known = {each.casefold() for each in links(given)}
    return [each for each in links(text) if each.casefold() not in known]


def names(text: str) -> Iterator[str]:
    """What is written like a name inside a sentence: two capitalised words in a row, or one behind a title."""
    for titled in _TITLED.finditer(text):
        yield titled[1]
    words = list(_NAME.finditer(text))
    for one, other in pairwise(words):
        between = text[one.end() : other.start()]
        if (
            between == " "
            and one.group().istitle()
            and other.group().istitle()
            and not _opens(text, one.start())
        ):
            yield f"{one.group()} {other.group()}"


def _opens(text: str, at: int) -> bool:
    """Whether a sentence begins here: its first word is capitalised whatever it is."""
    before = text[:at].rstrip(" \"'(„“")
    return not before or before[-1] in ".!?:\n"


def strange_names(text: str, given: str) -> list[str]:
    """Names of which the writer was given no part."""
    known = {word.casefold() for word in _NAME.findall(given)}
    return [
        name for name in names(text) if not any(part.casefold() in known for part in name.split())
    ]


def proper(text: str) -> set[str]:
    """Words with a capital where none is owed: what English calls by its name."""
    return {
        found.group().casefold()
        for found in _NAME.finditer(text)
        if found.group()[0].isupper() and not _opens(text, found.start())
    }


def strange_words(text: str, given: str) -> Iterator[str]:
    """In a text that is to state nothing: a time or a matter of law that the writer was not given."""
    lowered = given.casefold()
    for kind in (_WHEN, _LEGAL, _SECRET):
        for found in kind.finditer(text):
            if found.group().casefold() not in lowered:
                yield found.group()


def times(text: str) -> list[str]:
    """When something is to happen, in words."""
    return [found.group().casefold() for found in _WHEN.finditer(text)]


def promised(text: str, given: str = "") -> str:
    """What of a text promises money or a favour, or that something was or will be done; empty: nothing."""
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
        gives, favour = _GIVES.search(sentence), FAVOUR.search(sentence)
        if gives and favour:
            return sentence.strip()
        if favour and not FAVOUR.search(given):
            return favour.group()
    return ""


def done(text: str) -> str:
    """What of a text says that something was or will be done for the customer."""
    found = _DONE.search(text)
    return found.group() if found else ""


#: Without a word of money: that something was carried out.
_DONE = re.compile(
    r"\b(?:i|we)(?:\s+have|'ve|’ve)\s+(?:(?:already|now|just)\s+)?(?:cancel|chang|updat|block|remov|clos|book|sent|delet|upgrad|extend|escalat)\w*"
    r"|\b(?:ich|wir)\s+(?:habe|haben)\b[^.?!]{0,60}\b(?:storniert|ge(?:ä|ae)ndert|gesperrt|gel(?:ö|oe)scht|veranlasst|gebucht|verl(?:ä|ae)ngert)\b"
    r"|\b(?:has|have)\s+been\s+(?:cancelled|approved|refunded|changed|blocked|deleted|upgraded|extended|escalated)\b",
    re.IGNORECASE,
)


def marked_up(text: str) -> bool:
    """Markup, code or JSON where words belong."""
    return bool(_MARKUP.search(text))


def insulting(text: str) -> str:
    found = _INSULT.search(text)
    return found.group() if found else ""


def recites(text: str) -> bool:
    """Whether it repeats a prompt's own instructions."""
    own = _words(text)
    runs = {tuple(own[n : n + _RECITED]) for n in range(len(own) - _RECITED + 1)}
    return any(runs & _runs_of(name) for name in ("escalation", "synthesizer"))


def _runs_of(name: str) -> set[tuple[str, ...]]:
    # What a prompt says that the reply should say is no secret.
    lines = prompts.load(name).text.splitlines()
    words = _words("\n".join(line for line in lines if not _TO_BE_SAID.search(line)))
    return {tuple(words[n : n + _RECITED]) for n in range(len(words) - _RECITED + 1)}


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _NAME.findall(text)]
