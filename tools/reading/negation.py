"""Values that were said and are not meant: "10 714, not 10 741"."""

from __future__ import annotations

import re
from dataclasses import replace

from tools.reading.spans import S, folded

_NOT = (
    r"not|isn'?t|wasn'?t|never|nor|without|except(?: for)?|but not|instead of|rather than|other than|nicht|kein[e]?[nrsm]?|"
    r"statt|anstatt|anstelle von|au(?:ss|ß)er|ohne|pas|sauf|au lieu d[eu]|plutot que|sino|salvo|en (?:lugar|vez) de|invece (?:di|del)|"
    r"tranne|niet|geen|behalve|in plaats van|nao|exceto|em vez de"
)
#: Between the negation and its value only what belongs to the value: "not the order 10741".
_NEGATED = re.compile(
    rf"(?<![\w])(?:{_NOT})\s+(?:(?:the|my|an?|for|on|of|to|in|at|from|with|order|number|no\.?|der|die|das|den|dem|meine?[nr]?|am|im|vom|"
    r"an|auf|in|fur|bestellung|nummer|nr\.?|le|la|les|el|los|las|il|lo|i|de|het|o|a|os|as|commande|pedido|ordine|bestelling|#)\s*)*$"
)
#: "no, 10741": with a comma the no is an answer, and what follows is meant. Spanish and Italian say "no" for not.
_NO = re.compile(r"(?<![\w])(?:no|non)\s+(?:(?:el|la|los|las|il|lo|i|gli|le|l')\s*)?$")


def negated(spans: list[S], text: str, languages: tuple[str, ...] = ()) -> list[S]:
    """The same spans, marked where the words before take them back."""
    plain = folded(text)
    made: list[S] = []
    for one in spans:
        before = plain[: one.start]
        said_no = bool(_NEGATED.search(before)) or (
            bool({"es", "it"} & set(languages)) and bool(_NO.search(before))
        )
        made.append(replace(one, negated=True) if said_no else one)
    return made
