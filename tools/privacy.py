"""Finds and masks personal data in free text; the shop's own numbers (orders, invoices, ...) stay."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from tools.values import Span

_SEPARATED_DIGITS = r"\d(?:[ \u00a0-]?\d)"
_STREET_DE = r"(?:stra(?:ß|ss)e|str\.|weg|gasse|platz|allee|ufer|damm|ring)"
_STREET_EN = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court|Ct|Square|Sq"
    r"|Terrace|Close|Crescent|Place|Pl|Parkway|Pkwy|Highway|Hwy)"
)


@dataclass(frozen=True)
class Rule:
    """A kind of personal data, its shape, and how much of a match really is one (0: nothing)."""

    kind: str
    shape: re.Pattern[str]
    confirmed: Callable[[str], int] = len


def find_pii(text: str) -> list[Span]:
    """Where personal data stands in a text, in order and without overlaps; in a time linear in its length.

    What two rules find of one kind is one piece; of two kinds, the earlier rule's stays."""
    kinds = [*dict.fromkeys(rule.kind for rule in RULES)]
    taken = bytearray(len(text))
    for rule in RULES:
        mark = 1 + kinds.index(rule.kind)
        for match in rule.shape.finditer(text):
            group = "value" if "value" in rule.shape.groupindex else 0
            start = match.start(group)
            end = start + rule.confirmed(match.group(group))
            if start < end and not taken[start:end].strip(bytes((0, mark))):
                taken[start:end] = bytes((mark,)) * (end - start)
    return [
        Span(kind=kinds[run[1][0] - 1], start=run.start(), end=run.end())
        for run in _RUN.finditer(taken)
    ]


_RUN = re.compile(rb"([^\x00])\1*")


def mask_pii(text: str) -> str:
    """The text with personal data replaced by its kind: ``[email]``, ``[card]``, ..."""
    pieces: list[str] = []
    position = 0
    for span in find_pii(text):
        pieces += text[position : span.start], f"[{span.kind}]"
        position = span.end
    return "".join((*pieces, text[position:]))


def _luhn(text: str) -> int:
    digits = [int(each) for each in text if each.isdigit()]
    doubled = [sum(divmod(2 * each, 10)) for each in digits[-2::-2]]
    return len(text) if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else 0


def _iban(text: str) -> int:
    # Written in groups, a match may run on into the following words: shorten until the check fits.
    cut = len(text)
    while cut > 0:
        compact = text[:cut].replace(" ", "").upper()
        if len(compact) < 15:
            return 0
        number = "".join(str(int(each, 36)) for each in compact[4:] + compact[:4])
        if int(number) % 97 == 1:
            return cut
        cut = text.rfind(" ", 0, cut)
    return 0


#: E.164's 15 and an extension; the tracking numbers of parcels are longer.
MOST_PHONE_DIGITS = 19


def _phone(text: str) -> int:
    if _FRACTION.fullmatch(text):
        return 0
    digits = sum(each.isdigit() for each in text)
    return len(text) if 7 <= digits <= MOST_PHONE_DIGITS and not _DATE.search(text) else 0


#: A probability, not a number to call.
_FRACTION = re.compile(r"0\.\d+")

_DATE = re.compile(
    r"(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./]\d|\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d"
)


def _address_of_a_machine(text: str) -> int:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return 0
    return len(text)


def _with_a_digit(text: str) -> int:
    return len(text) if sum(each.isdigit() for each in text) >= 4 else 0


_DAY = (
    r"(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)?\d\d|(?:19|20)\d\d-\d\d-\d\d|\d{1,2}\.? [^\W\d_]{3,10},? (?:19|20)\d\d"
    r"|[^\W\d_]{3,10} \d{1,2}(?:st|nd|rd|th)?,? (?:19|20)\d\d)"
)
#: Behind these words a name stands.
_NAMED = (
    r"(?:my (?:full )?name is|my name's|the name is|name ?:|called|mein name ist|ich hei(?:ß|ss)e|name lautet|je m['’]appelle|mon nom est"
    r"|me llamo|mi nombre es|mi chiamo|mijn naam is|o meu nome é)"
)
_TITLE = r"(?:mr|mrs|ms|miss|dr|prof|herrn?|frau|mme|monsieur|madame|señora?|sig(?:nora?)?)"
_CAPITAL = r"[A-ZÀ-ÖØ-Þ][\w'’-]{1,30}"

#: Words that announce where somebody lives or something goes.
_ANNOUNCED = (
    r"\b(?:address(?:es)?(?:,? (?:is|are)|,? here (?:it is|they are))?|(?:lives?|living) (?:on|at|in)|return(?:ed)? (?:it |them )?to|new one to"
    r"|(?:office|shop|house|home|flat|place|school) is (?:at|in)|it['’]s (?:at|in)|(?:deliver|ship|send)(?:ed|t)? (?:it |them )?to|adresse(?: ist| lautet)?|anschrift(?: ist| lautet)?|wohn(?:t|e|en)? in"
    r"|adresse est|direcci[óo]n(?: es)?|indirizzo(?: è)?|adres(?: is)?)"
)
_NAME_WORD = r"[A-ZÀ-ÖØ-ÞĀ-ŽΑ-Ω][\w'’.-]{1,30}"
#: A part of an address: a word with a capital, a small word between two, a number.
_PIECE = r"(?:[A-ZÀ-ÖØ-ÞĀ-ŽΑ-Ω][\w'’-]{1,30}|(?:St|Str|Ave|Rd|Dr|Blvd|Apt|Nr|No|Gen|Sta|Sto)\.|[A-ZÀ-ÖØ-Þ]{1,2}\.?|(?:de|del|dei|della|di|da|do|dos|du|des|la|le|van|der|den|ten|the|corner|of|and|ul\.|u\.|út|utca|tér|trg)(?!\w)|\d{1,6}[A-Za-z]?\.?(?![\w@]))"
_GAP = r"[ ,\n]{1,6}"
_OF = r"(?:de|del|dei|della|di|da|do|dos|du|des|la|le|les|van|der|den|l['’]|d['’])"
_FIRST = r"(?:Via|Viale|Piazza|Corso|Rua|Rue|Av(?:enida|enue)?\.?|Calle|C/|Carrer|Plaza|Pra[çc]a|[Uu]l\.|Ulica|Aleja|Al\.|Boulevard|Bd\.?|Chemin|Route|Place|Am|An der|Auf dem|Zum)"
#: How the names of streets end in one word.
_ENDING = r"[A-ZÀ-ÖØ-ÞĀ-Ž][\w'’-]{0,25}(?:vej|gata|gade|gatan|vägen|katu|straat|gasse|stra(?:ß|ss)e|vegur|veien|vegen|gaten|laan|plein|utca|platz)"
_LAST = r"(?:[Ss]tra(?:ß|ss)e|Weg|Gasse|Platz|Allee|utca|út|u\.|tér|körút|trg|ulica|cesta|nábřeží|laan|straat|plein|gate|veg|vei)"
_UNIT = r"(?:Apt|Suite|Unit|Flat|Wohnung|Apartment|Top)\.? ?\d{1,5}(?!\w)"
#: As a name, without the stop behind it.
_PLACE = r"[A-ZÀ-ÖØ-ÞĀ-ŽΑ-Ω][\w'’.-]{0,29}\w"
#: What may follow a street: a flat, and a place that ends in its postcode.
_REST = (
    rf"(?:(?:[ ,\n]{{1,6}}{_UNIT}){{1,2}}(?:[ ,\n]{{1,6}}{_PLACE}){{0,4}})?"
    rf"(?:[ ,]{{1,3}}\d{{5}} {_PLACE}"
    rf"|(?:[ ,\n]{{1,6}}(?:{_PLACE}|[A-Z]{{2}}|\([A-Z][\w]{{1,20}}\))){{0,5}}[ ,\n]{{1,6}}\d{{4,6}}(?!\w)"
    rf"|(?:, {_PLACE}(?: {_PLACE}){{0,3}}){{1,3}})?"
)


def _with_a_house_number(text: str) -> int:
    # An order or an invoice has more digits, or letters before them.
    return (
        len(text.rstrip(" ,.\n"))
        if re.search(r"(?<![\w-])\d{1,5}[a-zA-Z]?\.?(?![\w-])", text)
        else 0
    )


# Earlier rules win where matches overlap. Every repetition is bounded: the text comes from strangers.
RULES = (
    Rule(
        "email",
        re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,5}[^\W\d_]{2,24}(?![\w-])"),
    ),
    Rule(
        "iban",
        re.compile(
            r"(?<!\w)[a-z]{2}\d{2}(?: ?[a-z\d]{4}){2,7}(?: ?[a-z\d]{1,3})?(?!\w)", re.IGNORECASE
        ),
        _iban,
    ),
    Rule(
        "card",
        re.compile(rf"(?<![\w+-])(?<!\d[.,]){_SEPARATED_DIGITS}{{11,18}}(?![\w-])"),
        _luhn,
    ),
    # With dots in fours only: a long fraction has one as well.
    Rule("card", re.compile(r"(?<![\w.+-])\d{4}(?:\.\d{4}){3}(?![\w-]|\.\d)"), _luhn),
    Rule(
        "ip",
        re.compile(
            r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})(?![\w:]|\.\d)",
            re.I,
        ),
        _address_of_a_machine,
    ),
    Rule(
        "birth",
        re.compile(
            r"\b(?:born|birth(?:day|date)?|d\.?o\.?b\.?|geboren|geburts(?:datum|tag)|née?|naissance|nacid[oa]|nacimiento|nat[oa]|nascita"
            rf"|geboortedatum)\b[^\n]{{0,24}}?(?P<value>{_DAY})(?!\w)",
            re.IGNORECASE,
        ),
    ),
    Rule(
        "document",
        re.compile(
            r"\b(?:passport|pass(?:nummer|port-?nr)|reisepass|ausweis(?:nummer)?|personalausweis|id card|identity card|driver'?s? licen[cs]e|driving licen[cs]e"
            r"|führerschein|national id|social security|ssn|steuer-?id|tax id|nie|dni|codice fiscale|bsn)\b[^\n]{0,24}?\b(?P<value>(?=[A-Z-]*\d)[A-Z0-9][A-Z0-9-]{4,19})\b",
            re.IGNORECASE,
        ),
        _with_a_digit,
    ),
    Rule(
        "secret",
        re.compile(
            r"\b(?:password|passwort|kennwort|passcode|cvv|cvc|pin|tan|api key|contraseña|mot de passe|wachtwoord)\b"
            r"(?: ?(?:is|ist|lautet|:|=|es|est))? ?(?P<value>(?=\S*\d)[^\s,;]{3,64})",
            re.IGNORECASE,
        ),
    ),
    # A number that is spoken of as one to call, however few digits it has.
    Rule(
        "phone",
        re.compile(
            r"\b(?:call|phone|telephone|telefon|tel|fax|mobile|handy(?:nummer)?|whatsapp|rufnummer|answering at|téléphone|teléfono"
            r"|telefono|telefoon)\b[^\d]{0,20}?(?P<value>(?:\+|\()?\d[\d ()./-]{4,20}\d(?: ?x\d{1,6})?)(?!\w)",
            re.IGNORECASE,
        ),
        _phone,
    ),
    # Where something lives, is sent or comes back to: to the end of what is written like an address.
    Rule(
        "address",
        re.compile(
            rf"(?i:{_ANNOUNCED})[:,]?[ \n]{{1,8}}(?P<value>{_PIECE}(?:{_GAP}{_PIECE}){{1,30}})"
        ),
        _with_a_house_number,
    ),
    # Streets called by a word before their name, a house number behind it or before it.
    Rule(
        "address",
        re.compile(
            rf"(?<!\w)(?:\d{{1,5}} )?{_FIRST} (?:{_OF} ?){{0,2}}(?:{_NAME_WORD} ){{1,4}}\d{{1,4}}[a-z]?(?!\w){_REST}"
        ),
    ),
    Rule(
        "address",
        re.compile(
            rf"(?<!\w)\d{{1,5}} (?:{_NAME_WORD} ){{0,3}}{_ENDING} \d{{1,4}}[a-z]?(?!\w){_REST}"
        ),
    ),
    Rule("address", re.compile(rf"(?<!\w){_ENDING} \d{{1,4}}[a-z]?(?!\w){_REST}")),
    Rule(
        "address",
        re.compile(rf"(?<!\w)(?:{_NAME_WORD} ){{1,3}}{_LAST} \d{{1,4}}[a-z]?(?!\w){_REST}"),
    ),
    # With a flat or a suite whatever stands before it is one; so is a box of the forces.
    Rule(
        "address",
        re.compile(
            rf"(?<!\w)\d{{1,5}} (?:\d{{1,5}} )?(?:{_NAME_WORD}[ ]){{1,5}}(?:\d{{1,4}}\.?[ ,]?)?[ \n]{{0,5}}{_UNIT}{_REST}"
        ),
    ),
    Rule(
        "address",
        re.compile(
            r"(?<!\w)(?:Unit|PSC|CMR|USNV|USCGC|USS) [\w ]{1,20},? ?(?:Box \d{1,5})?\s{1,3}(?:DPO|APO|FPO) A[AEP] \d{5}"
        ),
    ),
    Rule(
        "address",
        re.compile(
            rf"(?i:the corner of|an der ecke) (?:\d{{1,5}} )?(?:{_NAME_WORD} |ul\. ){{1,4}}(?:\d{{1,5}} )?(?:and|und) (?:[^\W\d_]{{1,20}} )?(?:{_NAME_WORD} ?){{1,3}}(?:\d{{1,5}})?"
        ),
    ),
    Rule(
        "address",
        re.compile(
            rf"(?<!\w)(?:\d{{1,6}} )?\d{{1,5}}[A-Za-z]? (?:{_NAME_WORD} ){{1,4}}{_STREET_EN}(?!\w)\.?"
            r"(?:,? (?:Apt|Suite|Unit|Flat)\.? ?\w{1,6})?"
            rf"(?:,? [A-Z][\w-]{{1,30}}){{0,2}}{_REST}"
        ),
    ),
    Rule(
        "address",
        re.compile(
            r"\b(?i:zip(?: ?code)?|post(?:al )?code|postleitzahl|plz)(?: is| ist|:)? (?P<value>\d{4,6})(?!\w)"
        ),
    ),
    # A house number before a street and another behind it; a flat, a box.
    Rule(
        "address",
        re.compile(
            r"(?<!\w)\d{3,6} (?:[A-ZÀ-ÖØ-Þ][\w'’.-]{1,30} ){1,4}\d{1,4}(?!\w)(?:[ ,\n]{1,4}(?:Apt|Suite|Unit|Flat)\.? ?\d{1,5})?"
        ),
    ),
    Rule(
        "address",
        re.compile(
            r"\b(?:Apt|Suite|Flat|Postbox|Postfach|P\.?O\.? Box|Box|Wohnung)\.? ?\d{2,6}(?!\w)"
        ),
    ),
    Rule(
        "person",
        re.compile(
            rf"(?:(?i:{_NAMED})|\b(?i:{_TITLE})\b\.?) (?P<value>{_CAPITAL}(?: {_CAPITAL}){{0,2}})"
        ),
    ),
    Rule(
        "person",
        re.compile(
            rf"\b(?i:i am|i['’]m|this is|hier ist|ich bin|regards,?|grüßen?,?|sincerely,?|yours,?)\s+(?P<value>{_CAPITAL} {_CAPITAL})"
        ),
    ),
    # Written with a country or area code: +49 30 5550, 0043 1 ..., 030 ..., (0)30.
    Rule(
        "phone",
        re.compile(
            r"(?<![\w./-])(?<!\d,)(?:\+|00|0|\(\+?\d)\d{0,4}(?:[ ./()-]{0,2}\d{1,10}){2,6}"
            r"(?: ?x\d{1,6})?(?!\w|-\d)"
        ),
        _phone,
    ),
    # Written in groups or as one long run: (311) 905-4466, 60-56-85-91, 212.555.0100, 5550104477.
    Rule(
        "phone",
        re.compile(
            r"(?<![\w./-])(?<!\d,)(?:(?:\(\d{2,4}\) ?|\d{2,4}[ -])\d{2,4}(?:[ -]\d{2,5}){1,3}"
            r"|\d{3}[ -]\d{4}|\d{3}\.\d{3}\.\d{4}|\d{9,11})(?: ?x\d{1,6})?(?!\w|-\d)"
        ),
        _phone,
    ),
    Rule(
        "address",
        re.compile(
            rf"(?<!\w)(?:[A-ZÄÖÜ][\w-]{{0,30}}{_STREET_DE}"
            rf"|(?:[A-ZÄÖÜ][\w-]{{1,25}} ){{1,3}}{_STREET_DE.replace('(?:', '(?:(?i:', 1)}))"
            r" \d{1,4} ?[a-z]?(?!\w)(?:,? \d{5} [A-ZÄÖÜ][\w-]{1,30})?"
        ),
    ),
)
