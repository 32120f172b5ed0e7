"""What customers call the shop's products, and which line of an order their words are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from domains.northfell.data_model import OrderLine
from domains.northfell.demo_accounts import PRODUCTS

#: What customers call a product of each kind, by the beginning of its stock number: English, German, French,
#: Spanish, Italian, Dutch.
_CALLED: dict[str, tuple[str, ...]] = {
    "TNT-": ("tent", "tents", "tarp", "shelter", "zelt", "zelte", "tente", "tienda", "tenda", "dome"),
    "PCK-": ("pack", "backpack", "rucksack", "bag", "daypack", "sac à dos", "mochila", "zaino", "rugzak", "duffel"),
    "BOT-": (
        "boots", "boot", "shoes", "shoe", "footwear", "runners", "trainers", "stiefel", "schuhe", "schuh", "wanderschuhe",
        "bergschuhe", "laufschuhe", "chaussures", "bottes", "botas", "zapatos", "scarponi", "scarpe", "schoenen",
    ),
    "STV-": (
        "stove", "cooker", "burner", "kocher", "gaskocher", "campingkocher", "réchaud", "hornillo", "fornello", "brander",
    ),
    "JKT-": ("jacket", "coat", "jacke", "veste", "chaqueta", "giacca", "jas"),
    "CLO-": ("clothes", "clothing", "kleidung"),
    "SLP-70": ("sleeping bag", "bag", "schlafsack", "sac de couchage", "saco de dormir", "sacco a pelo", "slaapzak"),
    "SLP-71": ("mat", "sleeping mat", "mattress", "pad", "matte", "isomatte", "schlafmatte", "matelas", "esterilla"),
    "LGT-80": ("headlamp", "head torch", "torch", "lamp", "light", "stirnlampe", "lampe", "frontale", "linterna"),
    "LGT-810": ("lantern", "lamp", "light", "laterne", "lampe", "lanterne", "linterna"),
    "LGT-815": ("power bank", "powerbank", "battery", "akku"),
    "NAV-910": ("poles", "pole", "trekking poles", "sticks", "stöcke", "wanderstöcke", "trekkingstöcke", "bâtons"),
    "NAV-901": ("compass", "kompass"),
    "HYD-951": ("filter", "wasserfilter"),
    "HYD-952": ("bottle", "bottles", "flasche", "flaschen", "trinkflasche", "gourde", "botella"),
    "HYD-955": ("bladder", "trinkblase"),
    "FAK-961": ("first aid", "first aid kit", "kit", "kits", "erste-hilfe-set", "verbandskasten"),
}  # fmt: skip
#: And single products beyond that.
_ALSO: dict[str, tuple[str, ...]] = {
    "JKT-501": ("shell", "rain jacket", "raincoat", "hardshell", "regenjacke"),
    "JKT-502": ("shell", "light jacket", "rain jacket"),
    "JKT-510": ("down jacket", "puffer", "daunenjacke", "doudoune"),
    "JKT-515": ("fleece", "fleecejacke"),
    "JKT-520": ("poncho", "regenponcho"),
    "JKT-525": ("vest", "weste"),
    "CLO-610": ("trousers", "pants", "trekking pants", "hose", "trekkinghose", "pantalon", "pantalones"),
    "CLO-615": ("trousers", "rain trousers", "rain pants", "regenhose", "hose"),
    "CLO-620": ("hat", "beanie", "mütze"),
    "CLO-625": ("gloves", "handschuhe"),
    "CLO-630": ("socks", "socken", "chaussettes"),
    "SLP-715": ("foam mat", "roll mat", "schaummatte"),
    "SLP-720": ("liner", "inlett"),
    "SLP-725": ("pillow", "kissen"),
    "SLP-730": ("hammock", "hängematte"),
    "STV-402": ("duo",),
    "STV-420": ("kettle", "kessel"),
    "STV-425": ("cook set", "pots", "pans", "kochset", "töpfe"),
    "STV-430": ("spoon", "löffel"),
    "STV-435": ("fire steel", "feuerstahl"),
    "BOT-320": ("mountaineering boots", "crampon boots", "bergstiefel"),
    "BOT-315": ("trail runners", "trail shoes", "running shoes", "trailschuhe"),
    "BOT-310": ("approach shoes", "zustiegsschuhe"),
}  # fmt: skip

#: Said beside a product without naming one.
_FILLER = frozenset(
    """the a an my our your one ones of for new replacement item items order and both all pair x der die das den dem ein
    eine einen mein meine meinen meiner unser unsere alle beide und""".split()  # noqa: SIM905 - as words, not as a list
)
#: Say that all pieces are meant, and plurals that do not end in s.
_ALL = frozenset(
    """all both alle beide beiden zelte matten jacken lampen flaschen kocher schlafsäcke rucksäcke""".split()  # noqa: SIM905
)
#: Of these even one is spoken of in the plural.
_PAIRS = ("BOT-", "CLO-602", "CLO-61", "CLO-625", "CLO-630", "NAV-910")
_WORD = re.compile(r"[^\W_]+")
_COUNT = re.compile(r"^\s*\d+\s*(?:x|×)?\s+(?=[^\W\d])", re.IGNORECASE)


def words_for(sku: str) -> tuple[str, ...]:
    """What customers call this product beyond its name."""
    of_its_kind = [
        word for start, words in _CALLED.items() if sku.startswith(start) for word in words
    ]
    return tuple(dict.fromkeys([*of_its_kind, *_ALSO.get(sku, ())]))


def lines_named(lines: Sequence[OrderLine], product: str) -> list[OrderLine]:
    """The lines that the customer's words name: exactly, else by words; none where the words name another product.

    Words that no product is called by ("red", "broken") say nothing about which one is meant. Every other
    word has to be one that the line is called by, so that "Fellwalker boots" never means the Glacier Boots."""
    said = _folded(_COUNT.sub("", product))
    exact = [line for line in lines if said in (line.sku.casefold(), _folded(line.product))]
    if exact:
        return exact
    known = _vocabulary() | {word for line in lines for word in _called(line)}
    asked = {word for word in _words(said) if word in known}
    if not asked:
        return []
    return [line for line in lines if asked <= _called(line)]


def means_all(line: OrderLine, product: str) -> bool:
    """Whether the words say that every piece of the line is meant ("the tents", "both lamps")."""
    said = _WORD.findall(product.casefold())
    plural = any(word != _single(word) for word in said) and not line.sku.startswith(_PAIRS)
    return plural or not _ALL.isdisjoint(said)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _words(text: str) -> set[str]:
    return {_single(word) for word in _WORD.findall(text.casefold())} - _FILLER


def _single(word: str) -> str:
    """A plural's word, so that "boots" and "boot" are one."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _called(line: OrderLine) -> frozenset[str]:
    return frozenset(_words(" ".join((line.product, *words_for(line.sku)))))


@cache
def _vocabulary() -> frozenset[str]:
    """Every word that some product of the shop is called by."""
    named: Iterable[str] = (
        part for product in PRODUCTS for part in (product.name, *words_for(product.sku))
    )
    return frozenset(word for text in named for word in _words(text))
