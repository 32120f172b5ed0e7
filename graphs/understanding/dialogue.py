"""What a message does to the question that is open: answer, agree, refuse, correct, leave, or something new."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from graphs.state import Pending
from graphs.understanding.clauses import forbids, mentions
from graphs.understanding.grounding import Grounds
from graphs.understanding.words import folded, tokens
from tools.intents import Intents

Move = Literal["new", "continue", "confirm", "decline", "repeat", "correct", "leave"]

#: So sure must a yes be to let happen what was asked about; below it the question is asked again.
YES = 0.6
#: From here on another wish is a change of subject; below it the message belongs to the question.
ANOTHER = 0.45
_RESTRICTS = re.compile(
    r"\b(?:but|except|only|just|instead|rather|wait|actually|aber|ausser|nur|doch lieber|stattdessen|sondern|halt|mais|"
    r"sauf|seulement|plutot|pero|solo|mejor|ma|pero|soltanto|invece|maar|alleen|liever|doch nicht|moment|allerdings|statt)\b"
)
#: Words that make a yes depend on something.
_TERMS = re.compile(
    r"\b(?:if|unless|provided|as long as|assuming|wenn|falls|sofern|solange|vorausgesetzt|es sei denn|mits|tenzij|a condition|"
    r"a moins|siempre que|a menos|purche|a meno)\b|(?<=[,.;] )(?:si|se|als)\b"
)
#: Words of a yes that only soften it.
_SOFT = re.compile(
    r"^(?:yes|ja|oui|si|ok(?:ay)?)[,.! ]+(?:please|bitte|just do it|go ahead|only that|genau)[.! ]*$"
)


@dataclass(frozen=True)
class Heard:
    """A message beside an open question: what the heads, the records and the readers make of it."""

    text: str
    chances: Mapping[str, float]
    grounds: Grounds  #: Among the records that the question is about.
    fits: bool  #: It holds a value for what was asked.
    asked_last: bool  #: The question was the last thing the agent said.
    another: bool = False  #: The words point to another record than the one asked about.
    points: bool = (
        False  #: They point into what was shown, whether or not that tells one: "both", of three.
    )

    def chance(self, intents: Intents, role: str) -> float:
        return sum(p for name, p in self.chances.items() if intents.get(name).role == role)


def move(pending: Pending, heard: Heard, intents: Intents, operations: frozenset[str]) -> Move:
    """What the customer does to ``pending``; ``operations`` are what it would carry out."""
    yes, no = heard.chance(intents, "affirm"), heard.chance(intents, "deny")
    if pending.stage == "confirm":  # What was not carried out yet is not withdrawn, it is declined.
        no += heard.chance(intents, "withdraw")
    leaves = heard.chance(intents, "leave")
    if pending.stage == "confirm" and drops(heard.text) and leaves < ANOTHER:
        no = 1.0
    if pending.stage == "confirm" and any(
        forbids(heard.text, one.verbs) for one in intents.intents if one.operation in operations
    ):
        no = 1.0  # "hang on, do NOT cancel it", wherever in the message it stands
    best = max(heard.chances, key=heard.chances.__getitem__)
    intent, chance = intents.get(best), heard.chances[best]
    substantive = intent.role is None or intent.role in _SUBSTANTIVE
    names = heard.grounds.how in ("named", "picked", "all") and bool(heard.grounds.records)
    same = intent.operation in operations
    if only_asked(heard.text):
        return "leave"
    if pending.stage == "confirm":
        return _at_confirmation(pending, heard, yes, no, leaves, chance, substantive, names, same)
    if pending.stage == "offer":
        if says_yes(heard.text) and restricts(heard.text) and heard.grounds.parts:
            return "correct"  # a yes to a part of what was offered
        if yes >= YES and not asks(heard.text):
            return "confirm" if heard.asked_last and not _on_terms(heard.text) else "repeat"
        if max(no, leaves) >= YES or (max(no, leaves) > chance and not substantive):
            return "decline"
        return "new"
    if _takes_none(heard.text) and not substantive:
        return "decline"
    # A question is no answer, whatever day or thing it names; what was asked for may be asked for again.
    asked = asks(heard.text) and (not same or (asks_which(heard.text) and not requests(heard.text)))
    if pending.stage == "field" and asked and not heard.fits:
        return "new"
    if names or heard.fits:
        beside = not names or _ADDS.match(folded(heard.text).strip()) is not None
        return "new" if substantive and chance >= 0.9 and not same and beside else "continue"
    if heard.points and pending.stage == "choice" and len(tokens(heard.text)) <= _POINTS:
        return "repeat"  # "both", of three: asked again, and nothing else is taken for it
    if leaves >= ANOTHER and leaves >= no:
        return "leave"
    if no >= ANOTHER and not substantive:
        return "decline" if heard.asked_last else "new"
    if same:
        return "continue"
    if (substantive and chance >= ANOTHER) or asks(heard.text):
        return "new"
    return "repeat"


#: What is wanted beside what was asked about: "and a new card please" picks no card.
_ADDS = re.compile(r"(?:and|also|plus|und|auch|ausserdem|et|y|e|en)\b")
#: So few words that point into a list want nothing else.
_POINTS = 4

#: Roles of wishes that are something of their own although no operation stands behind them.
_SUBSTANTIVE = frozenset(
    {"person", "complaint", "incident", "waiting", "other_person", "bot", "help"}
)


def _at_confirmation(
    pending: Pending,
    heard: Heard,
    yes: float,
    no: float,
    leaves: float,
    chance: float,
    substantive: bool,
    names: bool,
    same: bool,
) -> Move:
    refuses = says_no(heard.text) or no + leaves >= ANOTHER
    if heard.another and (same or not substantive or refuses):
        return "correct"  # "no, keep it; cancel the jacket one instead"
    if refuses and not heard.fits and not (substantive and chance >= 0.8 and not same):
        return "leave" if leaves > no else "decline"
    narrows = restricts(heard.text) and not _as_shown(heard, pending)
    more = narrows or asks(heard.text) or qualified(heard.text, pending)
    weak = same or not substantive or chance < ANOTHER
    if (yes >= YES or (says_yes(heard.text) and weak)) and not more:
        return "confirm" if heard.asked_last else "repeat"
    if same or (heard.fits and not substantive):
        return "new" if asks(heard.text) else "correct"
    if substantive and chance >= ANOTHER:
        return "new"
    if asks(heard.text):
        return "new"
    return "correct" if names else "repeat"


_JUST_ONE = re.compile(
    r"^(?:yes|yep|yeah|ja|ok(?:ay)?)[,. ]+(?:please |bitte )?(?:just|only|nur) (?:the )?(?:one|1|eine?[nrs]?)[.! ]*$"
)


def _on_terms(text: str) -> bool:
    """Whether a yes depends on something: "yes, if it costs nothing" agrees to nothing that was shown."""
    return _TERMS.search(folded(text)) is not None


def _as_shown(heard: Heard, asked: Pending) -> bool:
    """Whether a yes only says again what was shown: "yes, just one", of one piece; "yes, just the mat", of the mat."""
    if "1 x " in asked.question and _JUST_ONE.match(folded(heard.text).strip()) is not None:
        return True
    shown = asked.arguments.get(_PARTS[0])
    listed = shown if isinstance(shown, list) else [shown] if shown else []
    said = heard.grounds.parts
    return (
        len(listed) == len(said) > 0
        and not any(part.quantity for part in said)
        and all(
            any(name in str(one) for one in listed for name in (part.id, part.name))
            for part in said
        )
        and not _on_terms(heard.text)
        and len(tokens(heard.text)) <= _ECHO
    )


#: So short is a yes that only names what was shown.
_ECHO = 8


_YES = re.compile(
    r"^(?:yes|yep|yeah|yup|sure|please do|go ahead|correct|right|ja+|jo|jup|jep|jawohl|klar|gerne?|genau|passt(?: so)?|stimmt|richtig|"
    r"einverstanden|in ordnung|mach(?:en sie|t)? (?:das|es|mal)|von mir aus|oui|d'accord|si|claro|certo|"
    r"va bene)\b"
)


def says_yes(text: str) -> bool:
    """Whether the message begins with a yes."""
    return _YES.match(folded(text).strip()) is not None


_NO = re.compile(
    r"^(?:(?:h+m+|oh|ok|well|ach|na|aeh|uh)[, .!]+)*(?:no|nope|nah|stop|don'?t|do not|wait no|nein|nee|ne|noe|nicht|doch nicht|lieber nicht|bitte nicht|lass(?:en sie)? (?:mal|das|es|gut sein)|"
    r"auf keinen fall|um gottes willen|stopp|halt|non|"
    r"pas|ne le faites|no lo haga|fermo)\b(?! (?:problem|worries|hurry|idea|matter))"
)


def says_no(text: str) -> bool:
    """Whether the message begins with a no."""
    return _NO.match(folded(text).strip()) is not None


_ONLY_ASKED = re.compile(
    r"\b(?:(?:was|am|were|is|i'?m|it was) )?(?:just|only|merely) (?:asking|wondering|checking|curious|a question|a thought)\b|"
    r"\b(?:war )?nur (?:(?:mal|so|kurz) )*(?:gefragt|eine? frage|neugierig)\b|\bwollte (?:es |das )?nur (?:mal )?wissen\b"
)


def only_asked(text: str) -> bool:
    """Whether the message says that a question was all it was: "no, was only asking"."""
    return "?" not in text and _ONLY_ASKED.search(folded(text)) is not None


_HOLDS_OFF = re.compile(
    r"\b(?:(?:don'?t|do not) (?:touch|change|do|start|begin|book|cancel) (?:anything|it|that) (?:yet|now|just yet|for now)|"
    r"(?:don'?t|do not) touch (?:anything|it)|leave (?:it|everything|things) (?:as (?:it is|they are)|for now)|"
    r"(?:need|have|want) to (?:think|sleep on it|(?:talk|speak|check) (?:to|with) (?:my|our|the)\b)|let me think|i'?ll think|"
    r"think (?:about it|it over)|(?:noch|erst mal|erstmal|vorerst) nichts? (?:machen|andern|tun|unternehmen|stornieren|kundigen|buchen)|"
    r"uberleg\w* (?:ich )?(?:es |mir |das )*(?:noch|erst)|"
    r"(?:muss|will|mochte) (?:ich )?(?:es |das |mir das )?(?:erst|noch)(?: noch| mal| einmal)* (?:besprechen|uberlegen|klaren))\b"
)


_DROPS = re.compile(
    r"\b(?:forget (?:it|that|about it)|never ?mind|leave it(?: as it is)?|(?:stays?|remains?) as (?:it is|they are)|"
    r"vergiss es|vergessen sie (?:es|das)|lass(?:en sie)? (?:es|das)(?: sein| bleiben| gut sein)?|bleibt (?:alles )?(?:so|wie es ist)|"
    r"lassen wir (?:das|es|so)|laissez tomber|olvidalo|lasci perdere|laat maar)\b"
)


def drops(text: str) -> bool:
    """Whether the words drop what was asked about: "ugh. then forget it, my card stays as it is"."""
    return not asks(text) and not says_yes(text) and _DROPS.search(folded(text)) is not None


def holds_off(text: str) -> bool:
    """Whether the message only says that nothing is to be done yet: "ok. don't touch anything yet"."""
    return (
        "?" not in text
        and not _WH.search(folded(text))
        and _HOLDS_OFF.search(folded(text)) is not None
    )


_SUPPOSES = re.compile(
    r"^(?:(?:and|but|so|ok(?:ay)?|hm+|und|aber|also)[, ]+)*(?:(?:what|how about|was ware|was ist|und)[, ]+)?"
    r"(?:if|suppose|supposing|assuming|wenn|falls|angenommen)\b"
)


def supposes(text: str) -> bool:
    """Whether something is only supposed in a question: "and if we paused it over winter instead?"."""
    return text.rstrip().endswith("?") and _SUPPOSES.match(folded(text).strip()) is not None


_ORDINAL = re.compile(
    r"\b(?:first|second|third|fourth|last|former|latter|number|erste\w*|zweite\w*|dritte\w*|letzte\w*|premier\w*|deuxieme|"
    r"primer\w*|segund\w*|second[oa]|eerste|tweede)\b"
)
_ANOTHER_DOOR = re.compile(r"\bc/o\b|\b(?:postcode|zip code|plz|postleitzahl)\b")


_FOR_SOMEBODY = re.compile(
    r"\b(?:for|to|at|fur|an|bei|pour|chez|para|per|voor) (?:the|my|our|a|an|den|die|das|meine?[mnr]?|unsere?[mnr]?|le|la|mon|"
    r"ma|el|mi|il|mio|mia|de|mijn) ([a-z]{4,})"
)
#: What a yes may thank for, or be glad of.
_POLITE = frozenset({
    "help", "info", "information", "reply", "answer", "quick", "patience", "moment", "time", "best", "service",
    "support", "hilfe", "auskunft", "antwort", "schnelle", "danke", "bitte", "gerne", "genau", "klar", "sicher",
    "super", "prima", "thanks", "thank", "please", "okay", "great", "perfect", "sure", "right", "correct",
    "yes", "ja", "merci", "gracias", "grazie", "bedankt", "exactly", "absolutely", "definitely",
})  # fmt: skip
_WHOLE = re.compile(
    r"\b(?:all of (?:it|them)|everything|(?:the|die|das|den) (?:whole|entire|ganze\w*|komplette\w*)|alles|alle|both|beide\w*)\b"
)
#: Arguments that say that a part is meant, and not the whole.
_PARTS = ("items", "quantity")


def qualified(text: str, asked: Pending) -> bool:
    """Whether a yes holds another value than was shown, or picks one of several things. It agrees to what was shown
    and to nothing else: "yes, Ring 71", "yes, for the neighbour", "yes, Munich", "yes to the second one"."""
    plain, shown = folded(text), {*tokens(asked.question)}
    named = {noun for noun in _FOR_SOMEBODY.findall(plain) if noun not in _POLITE | shown}
    if named or _names_a_place(text, shown):
        return True
    if any(asked.arguments.get(part) for part in _PARTS) and _WHOLE.search(plain):
        return True
    numbers = [word for word in tokens(text) if any(char.isdigit() for char in word)]
    if any(number not in shown for number in numbers) or _ANOTHER_DOOR.search(plain):
        return True
    picks = _ORDINAL.search(plain) is not None or any(len(number) <= 2 for number in numbers)
    return asked.operation == "plan" and picks


def _names_a_place(text: str, shown: Collection[str]) -> bool:
    """Whether nothing but a name follows the yes that was not in what was shown: "yes, Munich"."""
    first, _, rest = text.strip().rstrip(".! ").partition(",")
    words = rest.split()
    if not 0 < len(words) <= 2 or not says_yes(first):
        return False
    return all(
        word[:1].isupper() and not {*tokens(word)} & _POLITE and not {*tokens(word)} <= {*shown}
        for word in words
    )


_ASKS = re.compile(
    r"^(?:(?:ok(?:ay)?|fine|well|so|and|but|gut|na gut|und|also)[, ]+)*(?:who|what|when|where|why|how|which|do i|does|is it|is that|"
    r"are|can|could|will|would|wer|was|wann|wo|warum|wieso|wie|welche|ist|sind|kann|konnen|konnt|darf|muss|gibt|habt|wurde|wird|qui|que|quoi|quand|comment|pourquoi|quien|"
    r"cuando|como|chi|quando|come|perche|wie|wanneer|hoe|waarom)\b"
)


_ONLY_ASKS = re.compile(
    r"\b(?:(?:just|only|merely) (?:asking|wondering|curious|a question|wanted to (?:ask|know))|(?:ich )?frage? nur|nur (?:so )?(?:eine|ne|mal) frage|"
    r"wollte nur (?:fragen|wissen)|je demande juste|solo (?:pregunto|preguntaba)|chiedo solo|vraag het alleen)\b"
)


def asks(text: str) -> bool:
    """Whether the words are a question: nobody agrees by asking."""
    plain = folded(text).strip()
    asked = plain.endswith("?") or _ASKS.match(plain) is not None
    return asked or _ONLY_ASKS.search(plain) is not None


_PERSON = re.compile(
    r"\b(?:get|give|put|pass|connect|transfer|hand|find) (?:me|us) (?:over |through |on )?(?:to |with )?(?:a|an|some|the|your|any) "
    r"(?:real |actual |human |live |proper )?(?:person|human|agent|manager|supervisor|somebody|someone|colleague|operator)\b|"
    r"\b(?:talk|speak|chat|write) (?:to|with) (?:a|an|some|your|any) (?:real |actual |human |live )?(?:person|human|agent|manager|supervisor|"
    r"colleague|operator)\b|"
    r"\b(?:geben|gib|verbinden|verbinde|stellen) (?:sie )?(?:mir|mich|uns) (?:bitte )?(?:mit |zu )?(?:einem?|einen|ihrem) (?:echten )?"
    r"(?:menschen|mitarbeiter\w*|kolleg\w*|berater\w*|vorgesetzten|person)\b|"
    r"\b(?:mit|einen) (?:einem )?(?:echten |richtigen )?(?:menschen|mitarbeiter\w*|vorgesetzten) (?:sprechen|reden|verbunden)\b"
)


def wants_person(text: str) -> bool:
    """Whether the words ask for a person outright: "get me a person"."""
    plain = folded(text)
    found = _PERSON.search(plain)
    return found is not None and not re.search(
        r"\b(?:don'?t|not|no need|nicht|kein\w*)\b[^.!?]*$", plain[: found.start()]
    )


_TAKES_BACK = re.compile(
    r"\b(?:withdr[ae]w\w*|retract\w*|rescind\w*|revok\w*|undo|revers\w*|cancel\w*|stop\w*|abort\w*|kill|drop|scrap|"
    r"scratch|forget|never ?mind|call(?:ed)? (?:\w+ )?off|(?:take|pull|taken) (?:[\w'-]+ ){0,5}back|do(?:n'?t| not)|"
    r"no (?:longer|more|need)|not? any ?more|any ?more|keep\w*|changed my mind|hold off|instead|rather not|"
    r"zuruck\w*|widerruf\w*|stornier\w*|stopp\w*|abbrech\w*|brich|vergiss\w*|vergessen|lass\w* (?:es|das|sein|bleiben)|"
    r"behalt\w*|nicht|kein\w*|annul\w*|retir\w*|arret\w*|gard\w*|laiss\w*|oubli\w*|plus besoin|anul\w*|olvid\w*|"
    r"quedo|dej\w*|ritir\w*|ferm\w*|lasci\w*|dimentic\w*|teng\w*|intrek\w*|trek|annuleer\w*|houd?|laat)\b"
)
#: A request that is put as a question: it is about doing it, not about whether it could be done.
_REQUESTS = re.compile(
    r"\b(?:(?:can|could|would|will) (?:you|u|someone|somebody)|please|pls|plz|bitte|konn(?:t|te|ten) (?:ihr|sie)|kannst du|"
    r"pouvez|pourriez|puede\w*|podria\w*|puo|potete|kunt|kun je)\b"
)


_WH = re.compile(
    r"\b(?:who|what|when|where|why|how|which|if|whether|wer|was|wann|wo|warum|wie\w*|welche\w*|ob|qui|quand|comment|"
    r"combien|cuando|como|cuanto|quando|come|quanto|wanneer|hoe\w*)\b"
)


def asks_which(text: str) -> bool:
    """Whether a word is asked with: when, how, which."""
    return _WH.search(folded(text)) is not None


_RETRACTS = re.compile(
    r"^(?:(?:ok|ach|nein|stopp|halt|dann|doch|bitte|i|ich|wir|we|no)[, ]+)*(?:zieh|nehm|withdraw|retract)\w*\b"
)
_BACK = re.compile(r"\b(?:zuruck|withdraw|retract)\b")
#: So few words that take something back name nothing else.
_RETRACTING = 7


def retracts(text: str) -> bool:
    """Whether the message only takes back what was asked for: "ich ziehe das zurück", "I withdraw it"."""
    plain = folded(text).strip()
    return (
        not asks(text)
        and len(tokens(text)) <= _RETRACTING
        and _RETRACTS.match(plain) is not None
        and _BACK.search(plain) is not None
    )


def requests(text: str) -> bool:
    """Whether the words ask for something to be done, be it put as a question: "can you track it"."""
    return _REQUESTS.search(folded(text)) is not None


def takes_back(text: str, words: Sequence[str] = ()) -> bool:
    """Whether the words themselves take something back: what waits is not ended by a message that only might mean
    it, nor by a yes to it or a question about it. ``words``: beginnings of the domain's own words for it."""
    plain, said = folded(text), tokens(text)
    if asks(text) and not requests(text):
        return False
    return bool(_TAKES_BACK.search(plain)) or mentions(said, words)


_PARTIAL = re.compile(
    r"\b(?:not (?:for )?(?:the )?(?:whole|entire|full|all|everything|complete)|(?:a |only |just )part of|some of (?:it|them|the)|"
    r"partial(?:ly)?|partly|half of|nicht (?:alle[sn]?|das ganze|die ganze\w*|den ganzen|komplett)|"
    r"(?:ein(?:en)? |nur )teil|teilweise|anteilig|pas (?:tout|entier)|une partie|no (?:todo|entero)|una parte|non tutto|niet alles)\b"
)


def partial(text: str) -> bool:
    """Whether only a part is wanted: what is the whole must not be proposed for it."""
    return _PARTIAL.search(folded(text)) is not None


_WHEN = re.compile(
    r"(?:(?:ok(?:ay)?|and|so|great|thanks|thx|cool|gut|und|danke|also|et|merci|y|gracias|e|grazie|en)[,.! ]+)*"
    r"(?:when|how (?:long|soon|fast)|wann|wie (?:lange|schnell)|quand|combien de temps|cuando|cuanto|quando|quanto|wanneer|"
    r"hoe (?:lang|snel))(?: (?:do|does|will|would|can|is|it|that|this|i|we|get|have|take|takes|be|so|still|now|then|roughly|"
    r"about|usually|until|till|there|here|arrive|arrived|in|account|card|paid|done|ready|decided|approved|know|hear|expect|back|my|the|money|bekomm\w*|krieg\w*|ich|wir|es|das|"
    r"dauer\w*|denn|noch|wird|kommt|mein|geld|ist|soweit|bis|da|je|le|ca|prend|mon|argent|lo|tarda\w*|mi|dinero|ci|vuole|"
    r"soldi|miei|i|het|duurt|mijn|geld))+[?!. ]*"
)


def asks_when(text: str) -> bool:
    """Whether the message asks when, or how long, and names nothing that it could be about: "when do i get it"."""
    return _WHEN.fullmatch(folded(text).strip()) is not None


_AGAIN_FOR = re.compile(
    r"\b(?:(?:do|make|change|try|repeat) (?:it|that|this|the same)(?: thing)? (?:for|to|with|on)|(?:the )?same(?: thing)? "
    r"(?:for|with|to|goes for)|(?:das|es|dasselbe|das gleiche|genauso|ebenso)(?: bitte)?(?: auch)? (?:fur|bei|mit) (?:die|der|"
    r"das|den|dem)|la meme chose pour|pareil pour|lo mismo (?:para|con)|lo stesso (?:per|con)|hetzelfde (?:voor|met))\b"
)


def again_for(text: str) -> bool:
    """Whether what was wanted before is to be done for something else too: "do it for the other one"."""
    return _AGAIN_FOR.search(folded(text)) is not None


_KEEPS = re.compile(
    r"\b(?:keep\w*|kept|call(?:ed)? (?:\w+ )?off|behalt\w*|gard\w*|quedo|teng\w*|houd?)\b"
)


def keeps(text: str) -> bool:
    """Whether something is to stay as it is."""
    return _KEEPS.search(folded(text)) is not None


_AGREES = re.compile(
    r"\b(?:approv\w*|go ahead|proceed|confirm\w*|do it|agree\w*|genehmig\w*|bestatig\w*|einverstanden|mach\w* das|los|"
    r"d'accord|confirm\w*|apruebo|adelante|approvo|procedi|akkoord)\b"
)


def agrees(text: str) -> bool:
    """Whether the words agree to something, wherever in the message they stand."""
    return says_yes(text) or _AGREES.search(folded(text)) is not None


def restricts(text: str) -> bool:
    """Whether a yes holds something that changes what it agrees to: "yes, but keep the mat"."""
    plain = folded(text).strip()
    changes = _RESTRICTS.search(plain) is not None or _on_terms(text)
    return changes and not _SOFT.match(plain)


_NONE = re.compile(
    r"\b(?:neither|none|nothing|keine[nrs]?|weder|aucun\w*|ningun[oa]?|nessun[oa]|geen)\b"
)


def _takes_none(text: str) -> bool:
    """Whether the answer to a list is that none of it is meant."""
    return len(tokens(text)) <= 10 and _NONE.search(folded(text)) is not None
