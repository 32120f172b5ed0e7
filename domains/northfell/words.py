"""What customers call the shop's records, how they speak of their states, and everything the shop sells."""

from __future__ import annotations

from domains.northfell.demo_accounts import PRODUCTS
from domains.northfell.operations.naming import words_for
from tools.records import Item, Lexicon

LEXICON = Lexicon(
    kinds={
        "order": ("order", "purchase", "parcel", "package", "delivery", "bestellung", "paket", "lieferung", "commande", "colis",
                  "pedido", "paquete", "ordine", "pacco", "bestelling", "pakket"),
        "invoice": ("invoice", "bill", "receipt", "rechnung", "facture", "factura", "fattura", "factuur"),
        "subscription": ("plan", "subscription", "membership", "abo", "abonnement", "suscripción", "abbonamento"),
        "refund": ("refund", "erstattung", "rückerstattung", "remboursement", "reembolso", "rimborso", "terugbetaling"),
    },
    states={
        "pending": ("unpaid", "not paid", "pending", "unbezahlt"),
        "paid": ("not packed", "paid"),
        "packed": ("packed", "gepackt", "verpackt"),
        "shipped": ("shipped", "sent", "on its way", "on the way", "in transit", "late", "overdue", "unterwegs", "verschickt"),
        "delivered": ("delivered", "arrived", "received", "geliefert", "angekommen", "zugestellt"),
        "cancelled": ("cancelled", "canceled", "storniert"),
        "returned": ("returned", "sent back", "zurückgeschickt"),
        "refunded": ("refunded", "erstattet"),
        "requested": ("requested", "waiting", "beantragt"),
        "approved": ("approved", "genehmigt"),
        "rejected": ("rejected", "refused", "declined", "abgelehnt"),
        "active": ("active", "running", "aktiv"),
        "paused": ("paused", "on hold", "pausiert"),
        "unpaid": ("unpaid", "open", "offen", "owe", "owed", "outstanding", "schulden"),
    },
    dates={
        "placed_on": ("ordered", "bought", "placed", "purchased", "bestellt", "gekauft", "commandé", "pedí", "ordinato"),
        "delivered_on": ("delivered", "arrived", "came", "received", "geliefert", "angekommen"),
        "issued_on": ("invoice", "bill", "rechnung"),
    },
    forms=("SB-10001", "INV-20001", "SUB-4001", "RF-30001"),
    common=("long", "group", "hiking", "pairs", "trekking", "emergency", "first", "water", "light", "rescue", "power", "blanket",
            "packstation"),
    catalogue=tuple(
        Item(id=one.sku, name=one.name, price=one.price, words=words_for(one.sku)) for one in PRODUCTS
    ),
)  # fmt: skip
