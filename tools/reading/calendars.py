"""The words of each language's calendar: dateparser's dictionaries, and the few words that are in none.

All of them without accents, as ``folded`` makes a text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal

from tools.reading.spans import folded

Unit = Literal["day", "week", "month", "year", "weekend"]
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS: tuple[Unit, ...] = ("day", "week", "month", "year")


@dataclass(frozen=True)
class Words:
    """What a language says about days; each a pattern without groups, "" where it says nothing."""

    months: dict[str, int]
    month_shorts: dict[str, int]
    days: dict[str, int]
    day_shorts: dict[str, int]
    units: dict[str, Unit]
    #: "yesterday", "letzte Woche": how many units from now.
    relative: dict[str, tuple[int, Unit]]
    #: Patterns with the place of the count as ``{n}``: "{n} days ago".
    counted: tuple[tuple[str, int, Unit], ...]
    extra: Extra


@dataclass(frozen=True)
class Extra:
    """What dictionaries of dates leave out."""

    last: str
    this: str
    next: str
    mod_behind: bool = False  #: "la semaine dernière": the modifier may stand behind.
    prep: str = ""  #: In front of a month or a day: "in July", "am Montag".
    of: str = ""  #: Between day and month: "12 de noviembre".
    ordinal: str = r"\.|º|°|ª"  #: Behind a day's number.
    since: str = ""
    to: str = ""
    between: str = ""  #: Opens a range: "from", "between".
    weekend: str = "weekend"
    begin: str = ""
    middle: str = ""
    end: str = ""
    one: str = ""
    two: str = ""  #: "a couple of"
    few: str = ""
    seasons: tuple[str, str, str, str] = ("(?!)", "(?!)", "(?!)", "(?!)")  #: From spring on.
    offset: str = ""  #: Between a length and the day it is counted from: "a week from Monday".
    nth: str = ""  #: A day of the month without its month, its number in a group.
    not_tomorrow: str = ""  #: In front of "morgen": the time of day and not the next day.
    ago: tuple[str, ...] = ()  #: Further patterns for what lies back, as "{n} {unit} atras".
    ahead: tuple[str, ...] = ()
    relative: dict[str, tuple[int, Unit]] = field(default_factory=dict[str, tuple[int, Unit]])


_EXTRA: dict[str, Extra] = {
    "en": Extra(
        seasons=("spring", "summer", "autumn|fall", "winter"),
        last="last|past|previous",
        this="this|current",
        next="next|coming|following",
        prep="in|on|from|since|of|by|until|till|before|after|during|around|early|late|mid|back in",
        of=r"(?:day )?of\s+",
        ordinal="st|nd|rd|th",
        since="since",
        to=r"to|until|till|through|and|-|–",
        between="between|from",
        begin="beginning of|start of|early(?: in)?|first day of",
        middle="mid|middle of|mid-",
        end="end of|last day of|late(?: in)?",
        one="a|an",
        two="a couple of|couple of|a couple",
        few="a few|some|several|a handful of",
        offset="from|after",
        nth=r"(?:(?:on|from|of|by|until|since|the)\s+)*(\d{1,2})(?:st|nd|rd|th)(?!\s+(?:one|time|order|item|option|of\b|in\b|on\b))",
        ago=("{n} {unit} back", "{n} {unit} earlier"),
        ahead=(
            "within {n} {unit}",
            "{n} {unit}['’]? time",
            "in {n} {unit}['’]? time",
            "{n} {unit} from (?:now|today)",
        ),
        relative={
            "tonight": (0, "day"),
            "the day before yesterday": (-2, "day"),
            "the day after tomorrow": (2, "day"),
        },
    ),
    "de": Extra(
        seasons=("fruhjahr|fruhling", "sommer", "herbst", "winter"),
        last=r"letzt(?:e[nmrs]?)?|vergangene[nmrs]?|vorige[nmrs]?",
        this=r"diese[nmrs]?",
        next=r"nae?chste[nmrs]?|kommende[nmrs]?|folgende[nmrs]?",
        prep="im|in|am|vom|seit|bis|ab|zum|aus(?: dem)?|von|fur|gegen|den|dem|der|anfang|mitte|ende",
        ordinal=r"\.",
        since="seit(?: dem)?",
        to=r"bis(?: zum)?|und(?: dem)?|-|–",
        between="zwischen(?: dem)?|vom|von",
        weekend="wochenende[sn]?",
        begin="anfang",
        middle="mitte",
        end="ende",
        one="ein|eine|einem|einer|einen",
        two="ein paar|paar",
        few="einigen?|wenigen?|mehreren?",
        offset="nach|ab",
        nth=r"(?:am|vom|zum|seit dem|bis zum|ab dem|den)\s+(\d{1,2})\.(?!\d|\s*\d)",
        not_tomorrow=r"guten|am|jeden|heute|gestern|vorgestern|freitag|montag|dienstag|mittwoch|donnerstag|samstag|sonntag",
        ago=("{n} {unit} zuvor", "{n} {unit} her"),
        ahead=("binnen {n} {unit}", "innerhalb von {n} {unit}"),
        relative={"uebermorgen": (2, "day")},
    ),
    "fr": Extra(
        seasons=("printemps", "ete", "automne", "hiver"),
        last=r"dernier[e]?|passee?|precedente?",
        this=r"ce|cet|cette",
        next=r"prochaine?|suivante?",
        mod_behind=True,
        prep="en|le|la|de|du|des|d'|depuis|avant|apres|au|a|pour|jusqu'au|debut|fin|courant|mi|au mois de|du mois de",
        of=r"(?:de\s+|du\s+)?",
        ordinal="er|e|eme",
        since="depuis(?: le)?",
        to=r"au|a|et(?: le)?|jusqu'au|-|–",
        between="entre(?: le)?|du|de",
        weekend="week-?end",
        begin="debut(?: du| de)?",
        middle="mi-?|milieu(?: du| de)?",
        end="fin(?: du| de)?",
        one="un|une",
        two="une paire de|un couple de",
        few="quelques|plusieurs",
        nth=r"\ble\s+(\d{1,2})(?:er)?(?=\s*(?:$|[.,;!?]))",
        relative={"avant hier": (-2, "day"), "hier soir": (-1, "day")},
    ),
    "es": Extra(
        seasons=("primavera", "verano", "otono", "invierno"),
        last=r"pasad[oa]|ultim[oa]|anterior",
        this=r"est[ea]",
        next=r"proxim[oa]|que viene",
        mod_behind=True,
        prep="en|el|la|de|del|desde|hasta|antes del?|para|a principios de|a finales de|a mediados de|los?|por",
        of=r"(?:de\s+|del\s+)?",
        since="desde(?: el)?",
        to=r"al?|y(?: el)?|hasta(?: el)?|-|–",
        between="entre(?: el)?|del|desde(?: el)?",
        weekend="fin de semana",
        begin="(?:a )?(?:principios|comienzos|inicios) de",
        middle="(?:a )?mediados de",
        end="(?:a )?(?:finales|fines) de",
        one="un|una",
        two="un par de",
        few="unos|unas|algunos|algunas|pocos|pocas|varios|varias",
        nth=r"\b(?:el )?dia\s+(\d{1,2})\b(?!\s+de\s+[a-z])",
        not_tomorrow=r"la|esta|por la|de la|cada|buena",
        ago=("{n} {unit} atras",),
        relative={
            "antes de ayer": (-2, "day"),
            "antier": (-2, "day"),
            "anoche": (-1, "day"),
            "pasado manana": (2, "day"),
        },
    ),
    "it": Extra(
        seasons=("primavera", "estate", "autunno", "inverno"),
        last=r"scors[oaie]|passat[oaie]|ultim[oa]",
        this=r"quest[oa]|quest'",
        next=r"prossim[oaie]|che viene",
        mod_behind=True,
        prep="in|a|ad|di|del|dell'|da|dal|dalla|il|lo|l'|nel|entro|per|inizio|fine|meta|lo scorso",
        of=r"(?:di\s+)?",
        since="da|dal|dalla|dall'",
        to=r"al|a|e(?: il)?|fino al|-|–",
        between="tra(?: il)?|fra(?: il)?|dal|da",
        weekend="fine settimana|week-?end",
        begin="(?:a )?inizio(?: di| del)?",
        middle="(?:a )?meta(?: di| del)?",
        end="(?:a )?fine(?: di| del)?",
        one="un|una|un'",
        two="un paio di",
        few="qualche|alcuni|alcune|pochi|poche|diversi|diverse",
        nth=r"\bil\s+(?:giorno\s+)?(\d{1,2})(?=\s*(?:$|[.,;!?]))",
        relative={
            "l'altro ieri": (-2, "day"),
            "ieri l'altro": (-2, "day"),
            "avantieri": (-2, "day"),
            "dopodomani": (2, "day"),
            "ieri sera": (-1, "day"),
            "stasera": (0, "day"),
        },
    ),
    "nl": Extra(
        seasons=("lente|voorjaar", "zomer", "herfst|najaar", "winter"),
        last=r"vorige?|afgelopen|laatste",
        this=r"deze|dit",
        next=r"volgende?|komende?|aanstaande",
        prep="in|op|van|vanaf|sinds|uit|tot|voor|na|rond|begin|eind|half|de",
        of=r"(?:van\s+)?",
        ordinal=r"e|ste|de|\.",
        since="sinds",
        to=r"tot(?: en met)?|t/m|en|-|–",
        between="tussen|van",
        begin="begin(?: van)?",
        middle="half|midden(?: van)?",
        end="eind(?: van)?",
        one="een",
        two="een paar",
        few="enkele|meerdere|een aantal",
        nth=r"\b(?:op|van|sinds)\s+de\s+(\d{1,2})(?:e|ste|de)\b",
        not_tomorrow=r"goede|goeie|elke|in de",
        ago=("{n} {unit} terug",),
        ahead=("binnen {n} {unit}",),
    ),
    "pt": Extra(
        seasons=("primavera", "verao", "outono", "inverno"),
        last=r"passad[oa]|ultim[oa]|anterior",
        this=r"est[ea]|ness[ea]|nest[ea]",
        next=r"proxim[oa]|que vem",
        mod_behind=True,
        prep="em|no|na|de|do|da|desde|ate|antes de|para|inicio de|fim de|meados de|o|a",
        of=r"(?:de\s+|do\s+)?",
        since="desde(?: o)?",
        to=r"a|ao|e(?: o)?|ate(?: o)?|-|–",
        between="entre(?: o)?|de|do",
        weekend="fim[- ]de[- ]semana",
        begin="(?:no )?inicio de|(?:no )?comeco de",
        middle="(?:em )?meados de",
        end="(?:no )?(?:fim|final) de|(?:em )?finais de",
        one="um|uma",
        two="um par de",
        few="alguns|algumas|uns|umas|varios|varias|poucos|poucas",
        nth=r"\bdia\s+(\d{1,2})\b(?!\s+de\s+[a-z])",
        ago=("{n} {unit} atras", "faz {n} {unit}", "ha {n} {unit}"),
        relative={"antes de ontem": (-2, "day"), "depois de amanha": (2, "day")},
    ),
}
LANGUAGES = tuple(_EXTRA)


@lru_cache
def words_of(language: str) -> Words:
    """The calendar words of one of ``LANGUAGES``."""
    info: dict[str, Any] = import_module(f"dateparser.data.date_translation_data.{language}").info
    extra = _EXTRA[language]
    months, month_shorts = _names(info, _MONTHS, first=1)
    days, day_shorts = _names(info, _DAYS, first=0)
    units: dict[str, Unit] = {}
    for unit in _UNITS:
        # "sem" is a week on a timetable, and "without" in a sentence.
        units |= {folded(w): unit for w in info[unit] if len(w) > 2 and w != "sem"}
    return Words(
        months, month_shorts, days, day_shorts, units, _relative(info) | extra.relative,
        tuple(_counted(info, units, extra)), extra,
    )  # fmt: skip


def _names(
    info: dict[str, Any], keys: Iterable[str], *, first: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Whole names and their abbreviations; what is not of the common dictionary's lower case is left out,
    for there "Die" is a Tuesday and "Mit" a Wednesday."""
    whole: dict[str, int] = {}
    shorts: dict[str, int] = {}
    for number, key in enumerate(keys, first):
        own = [w for w in info[key] if w == w.lower() or len(w) > 5]
        # A Portuguese "segunda" is a second one unless "-feira" follows.
        own = [w for w in own if "-" in w] or own
        longest = max(len(w) for w in own)
        for word in own:
            target = whole if len(word) >= min(5, longest) else shorts
            if len(word) >= 3:
                target[folded(word)] = number
    return whole, shorts


def _relative(info: dict[str, Any]) -> dict[str, tuple[int, Unit]]:
    found: dict[str, tuple[int, Unit]] = {}
    for key, said in info["relative-type"].items():
        if m := re.fullmatch(r"(in )?(\d) (day|week|month|year)( ago)?", key):
            sign = 1 if m[1] else -1
            unit: Unit = m[3]  # type: ignore[assignment]
            found |= {folded(w): (sign * int(m[2]), unit) for w in said}
    return found


def _counted(
    info: dict[str, Any], units: dict[str, Unit], extra: Extra
) -> Iterable[tuple[str, int, Unit]]:
    for key, patterns in info["relative-type-regex"].items():
        if m := re.fullmatch(r"(in )?\\1 (day|week|month|year)( ago)?", key):
            unit: Unit = m[2]  # type: ignore[assignment]
            for pattern in patterns:
                said = folded(pattern.split("(", 1)[0]), folded(pattern.rpartition(")")[2])
                if len(said[1].strip()) > 2 and "\\" not in said[1]:
                    yield f"{said[0]}{{n}}{said[1]}", 1 if m[1] else -1, unit
    for templates, sign in ((extra.ago, -1), (extra.ahead, 1)):
        for template in templates:
            for word, unit in units.items():
                yield template.replace("{unit}", word), sign, unit


__all__ = ["LANGUAGES", "Extra", "Unit", "Words", "words_of"]
