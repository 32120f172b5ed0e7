"""The named demo customers and what happened to them, shared by the memory world and the SQL shop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

from domains.northfell.data_model import (
    Charge,
    Invoice,
    Order,
    OrderLine,
    OrderStatus,
    Refund,
    Subscription,
)
from tools.values import Customer, Ticket

FREE_SHIPPING_FROM = Decimal(60)
STANDARD_SHIPPING = Decimal("4.95")


@dataclass(frozen=True)
class Product:
    sku: str
    name: str
    category: str
    price: Decimal
    weight_g: int


def _product(sku: str, name: str, category: str, price: str, weight_g: int) -> Product:
    return Product(sku, name, category, Decimal(price), weight_g)


#: The whole assortment: sixty products, all invented for this shop.
PRODUCTS: tuple[Product, ...] = (
    _product("TNT-101", "Ridgeline Tent 2P", "tents", "289.00", 2100),
    _product("TNT-102", "Ridgeline Tent 3P", "tents", "349.00", 2600),
    _product("TNT-110", "Fellside Dome", "tents", "199.00", 3400),
    _product("TNT-115", "Tarnlight Solo Tent", "tents", "259.00", 980),
    _product("TNT-120", "Basecamp Tunnel 4P", "tents", "479.00", 6200),
    _product("TNT-130", "Larch Tarp 3x3", "tents", "89.00", 640),
    _product("TNT-140", "Group Shelter 8P", "tents", "129.00", 1150),
    _product("PCK-201", "Scree 28 Daypack", "packs", "99.00", 890),
    _product("PCK-202", "Scree 40 Pack", "packs", "149.00", 1290),
    _product("PCK-210", "Longhaul 65 Pack", "packs", "219.00", 1980),
    _product("PCK-215", "Longhaul 75 Pack", "packs", "239.00", 2150),
    _product("PCK-220", "Becks Hip Pack", "packs", "39.00", 240),
    _product("PCK-230", "Portage Duffel 60", "packs", "109.00", 1050),
    _product("BOT-301", "Fellwalker Boots", "boots", "189.00", 1240),
    _product("BOT-302", "Fellwalker Mid Boots", "boots", "169.00", 1080),
    _product("BOT-310", "Cairn Approach Shoes", "boots", "139.00", 820),
    _product("BOT-315", "Gritstone Trail Runners", "boots", "129.00", 610),
    _product("BOT-320", "Glacier B2 Boots", "boots", "329.00", 1720),
    _product("BOT-330", "Camp Slippers", "boots", "35.00", 260),
    _product("STV-401", "Ember Gas Stove", "stoves", "54.90", 95),
    _product("STV-402", "Ember Duo Stove", "stoves", "119.00", 410),
    _product("STV-410", "Tarn Alcohol Burner", "stoves", "24.90", 110),
    _product("STV-415", "Windward Stove Shield", "stoves", "14.90", 130),
    _product("STV-420", "Kettle 0.9 l", "stoves", "29.90", 165),
    _product("STV-425", "Summit Cook Set", "stoves", "69.00", 540),
    _product("STV-430", "Long Spoon", "stoves", "9.90", 18),
    _product("STV-435", "Fire Steel", "stoves", "12.90", 42),
    _product("JKT-501", "Stormcrag Shell Jacket", "jackets", "279.00", 420),
    _product("JKT-502", "Stormcrag Light Jacket", "jackets", "199.00", 310),
    _product("JKT-510", "Heather Down Jacket", "jackets", "229.00", 380),
    _product("JKT-515", "Moor Fleece Jacket", "jackets", "89.00", 340),
    _product("JKT-520", "Drizzle Poncho", "jackets", "49.00", 290),
    _product("JKT-525", "Windbreak Vest", "jackets", "79.00", 160),
    _product("CLO-601", "Merino Base Top", "clothing", "69.00", 170),
    _product("CLO-602", "Merino Base Leggings", "clothing", "69.00", 180),
    _product("CLO-610", "Trekking Trousers", "clothing", "99.00", 360),
    _product("CLO-615", "Rain Trousers", "clothing", "119.00", 270),
    _product("CLO-620", "Wool Hat", "clothing", "29.00", 70),
    _product("CLO-625", "Liner Gloves", "clothing", "24.00", 45),
    _product("CLO-630", "Hiking Socks, two pairs", "clothing", "27.00", 110),
    _product("SLP-701", "Tarn 0 Sleeping Bag", "sleeping", "249.00", 980),
    _product("SLP-702", "Tarn 5 Sleeping Bag", "sleeping", "189.00", 820),
    _product("SLP-710", "Cloudbed Mat", "sleeping", "129.00", 460),
    _product("SLP-715", "Foam Mat", "sleeping", "34.90", 410),
    _product("SLP-720", "Bag Liner", "sleeping", "44.90", 140),
    _product("SLP-725", "Inflatable Pillow", "sleeping", "27.90", 85),
    _product("SLP-730", "Hammock", "sleeping", "59.00", 480),
    _product("LGT-801", "Beacon 400 Headlamp", "lights", "59.00", 88),
    _product("LGT-802", "Beacon 200 Headlamp", "lights", "39.00", 72),
    _product("LGT-810", "Camp Lantern", "lights", "45.00", 210),
    _product("LGT-815", "Power Bank 10,000 mAh", "lights", "49.00", 230),
    _product("NAV-901", "Fell Compass", "navigation", "34.00", 60),
    _product("NAV-905", "Map Case", "navigation", "19.90", 110),
    _product("NAV-910", "Trekking Poles", "navigation", "89.00", 480),
    _product("NAV-915", "Emergency Whistle", "navigation", "6.90", 12),
    _product("HYD-951", "Water Filter", "hydration", "49.00", 90),
    _product("HYD-952", "Bottle 1 l", "hydration", "22.00", 180),
    _product("HYD-955", "Water Bladder 2 l", "hydration", "36.00", 170),
    _product("FAK-961", "First Aid Kit", "safety", "39.00", 320),
    _product("FAK-965", "Rescue Blanket", "safety", "7.90", 65),
)
BY_SKU = {product.sku: product for product in PRODUCTS}

PLAN_PRICES = {"care": Decimal("4.90"), "care_plus": Decimal("9.90"), "fleet": Decimal("3.50")}
FLEET_MINIMUM = 20


@dataclass(frozen=True)
class Account:
    """A customer with everything on their account."""

    customer: Customer
    orders: tuple[Order, ...] = ()
    invoices: tuple[Invoice, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    refunds: tuple[Refund, ...] = ()
    charges: tuple[Charge, ...] = ()
    tickets: tuple[Ticket, ...] = ()


def shipping_for(goods: Decimal) -> Decimal:
    return Decimal(0) if goods >= FREE_SHIPPING_FROM else STANDARD_SHIPPING


def line(sku: str, quantity: int = 1) -> OrderLine:
    product = BY_SKU[sku]
    return OrderLine(product=product.name, sku=sku, quantity=quantity, unit_price=product.price)


def invoice_for(order: Order, number: int, *, paid: bool, sent_to: str) -> Invoice:
    return Invoice(
        number=f"INV-{number}",
        order_number=order.number,
        issued_on=order.placed_on,
        total=order.total,
        paid=paid,
        sent_to=sent_to,
    )


class _Story:
    """Writes one customer's account in days before today."""

    def __init__(
        self,
        today: date,
        id: str,
        name: str,
        *,
        customer_for_days: int,
        address: str,
        phone: str | None = None,
        segment: Literal["consumer", "business"] = "consumer",
    ) -> None:
        self.today = today
        self.address = address
        self.customer = Customer(
            id=id,
            name=name,
            email=f"{id}@example.com",
            phone=phone,
            segment=segment,
            since=self.ago(customer_for_days),
        )
        self.orders: list[Order] = []
        self.invoices: list[Invoice] = []
        self.subscriptions: list[Subscription] = []
        self.refunds: list[Refund] = []

    def ago(self, days: int) -> date:
        return self.today - timedelta(days=days)

    def order(
        self,
        number: int,
        status: OrderStatus,
        placed: int,
        *lines: OrderLine,
        invoice: int,
        payment: Literal["card", "paypal", "invoice"] = "card",
        paid: bool | None = None,
        delivered: int | None = None,
        expected_in: int | None = None,
        tracking: str | None = None,
        **more: Any,
    ) -> None:
        """One order with its invoice; ``placed`` and ``delivered`` count days back from today."""
        goods = sum((one.unit_price * one.quantity for one in lines), Decimal(0))
        shipping = shipping_for(goods)
        order = Order(
            number=f"SB-{number}",
            status=status,
            placed_on=self.ago(placed),
            lines=lines,
            shipping=shipping,
            total=goods + shipping,
            payment=payment,
            delivery_address=self.address,
            carrier="Parcelo" if tracking else None,
            tracking=tracking,
            expected_on=None if expected_in is None else self.ago(-expected_in),
            delivered_on=None if delivered is None else self.ago(delivered),
            **more,
        )
        was_paid = status is not OrderStatus.PENDING if paid is None else paid
        self.orders.append(order)
        self.invoices.append(
            invoice_for(order, invoice, paid=was_paid, sent_to=self.customer.email)
        )

    def plan(
        self,
        number: int,
        plan: Literal["care", "care_plus", "fleet"],
        status: Literal["active", "paused", "cancelled"],
        started: int,
        *,
        renews_in: int | None = None,
        paused_for: int | None = None,
        ended: int | None = None,
        items: int = 1,
    ) -> None:
        self.subscriptions.append(
            Subscription(
                number=f"SUB-{number}",
                plan=plan,
                status=status,
                price=PLAN_PRICES[plan] * items,
                started_on=self.ago(started),
                renews_on=None if renews_in is None else self.ago(-renews_in),
                paused_until=None if paused_for is None else self.ago(-paused_for),
                ends_on=None if ended is None else self.ago(ended),
            )
        )

    def refund(
        self,
        number: int,
        order: int,
        amount: str,
        status: Literal["requested", "approved", "paid", "rejected"],
        requested: int,
        reason: str,
    ) -> None:
        of = next(one for one in self.orders if one.number == f"SB-{order}")
        self.refunds.append(
            Refund(
                number=f"RF-{number}",
                order_number=of.number,
                amount=Decimal(amount),
                status=status,
                method=of.payment,
                requested_on=self.ago(requested),
                reason=reason,
            )
        )

    def account(self) -> Account:
        return Account(
            customer=self.customer,
            orders=tuple(self.orders),
            invoices=tuple(self.invoices),
            subscriptions=tuple(self.subscriptions),
            refunds=tuple(self.refunds),
        )


def stories(today: date) -> list[Account]:
    """Six customers whose situations the demo, the evals and the tests talk about."""
    return [
        _ana(today),
        _ben(today),
        _carla(today),
        _dev(today),
        _eva(today),
        _finn(today),
    ]


def _ana(today: date) -> Account:
    """One open order, paid and not packed; a running Care plan."""
    ana = _Story(
        today,
        "ana",
        "Ana Keller",
        customer_for_days=620,
        address="Lindenweg 14, 50674 Köln",
        phone="+49 221 5550 118",
    )
    ana.order(
        10482, OrderStatus.PAID, 2, line("TNT-101"), line("SLP-715"), invoice=20931, expected_in=3
    )
    ana.order(
        10217, OrderStatus.DELIVERED, 140, line("BOT-301"), invoice=20655, delivered=136,
        tracking="PC4400217DE",
    )  # fmt: skip
    ana.order(
        9874, OrderStatus.DELIVERED, 410, line("STV-401"), line("STV-430"), invoice=20301,
        payment="paypal", delivered=406, tracking="PC4399874DE",
    )  # fmt: skip
    ana.plan(4021, "care", "active", 300, renews_in=12)
    return ana.account()


def _ben(today: date) -> Account:
    """Several open orders, one in every state before delivery, so a bare "my order" is ambiguous."""
    ben = _Story(
        today,
        "ben",
        "Ben Okafor",
        customer_for_days=240,
        address="Hafenstraße 8, 20457 Hamburg",
        phone="+49 40 5550 162",
    )
    ben.order(10501, OrderStatus.PENDING, 0, line("JKT-510"), invoice=20950, payment="paypal")
    ben.order(10496, OrderStatus.PAID, 1, line("LGT-801"), invoice=20945, expected_in=4)
    ben.order(
        10479, OrderStatus.PACKED, 3, line("PCK-210"), line("HYD-952", 2), invoice=20928,
        expected_in=2,
    )  # fmt: skip
    ben.order(
        10455, OrderStatus.SHIPPED, 6, line("SLP-710"), invoice=20904, expected_in=1,
        tracking="PC4410455DE",
    )  # fmt: skip
    ben.order(
        10390, OrderStatus.DELIVERED, 19, line("STV-402"), invoice=20840, delivered=14,
        tracking="PC4410390DE",
    )  # fmt: skip
    ben.order(10244, OrderStatus.CANCELLED, 120, line("CLO-615"), invoice=20683, paid=False)
    ben.plan(4088, "care_plus", "paused", 190, renews_in=55, paused_for=40)
    return ben.account()


def _carla(today: date) -> Account:
    """Loyal for five years and angry: a boot that broke, a late parcel, a refund still requested."""
    carla = _Story(
        today,
        "carla",
        "Carla Rossi",
        customer_for_days=5 * 365 + 40,
        address="Am Stadtpark 3, 90409 Nürnberg",
        phone="+49 911 5550 107",
    )
    carla.order(
        10431, OrderStatus.SHIPPED, 12, line("JKT-501"), invoice=20880, expected_in=-4,
        tracking="PC4410431DE",
    )  # fmt: skip
    carla.order(
        10398, OrderStatus.DELIVERED, 21, line("BOT-320"), invoice=20848, delivered=16,
        tracking="PC4410398DE",
    )  # fmt: skip
    carla.order(
        10310, OrderStatus.RETURNED, 61, line("SLP-701"), invoice=20755, delivered=57,
        tracking="PC4410310DE",
    )  # fmt: skip
    carla.order(
        9410, OrderStatus.DELIVERED, 1240, line("TNT-120"), invoice=19830, delivered=1235,
        tracking="PC4309410DE",
    )  # fmt: skip
    carla.plan(3310, "care_plus", "active", 1500, renews_in=5)
    carla.refund(30112, 10310, "249.00", "requested", 9, "not_as_described")
    return carla.account()


def _dev(today: date) -> Account:
    """A guiding company that pays by invoice and keeps its gear on a Fleet plan."""
    dev = _Story(
        today,
        "dev",
        "Dev Anand, Highline Guiding",
        customer_for_days=900,
        address="Gewerbepark 21, 87527 Sonthofen",
        phone="+49 8321 5550 140",
        segment="business",
    )
    dev.order(
        10488, OrderStatus.PACKED, 4, line("TNT-120", 6), line("SLP-702", 20), invoice=20937,
        payment="invoice", paid=False, expected_in=3,
    )  # fmt: skip
    dev.order(
        10350, OrderStatus.DELIVERED, 44, line("FAK-961", 25), invoice=20797, payment="invoice",
        delivered=39, tracking="PC4410350DE",
    )  # fmt: skip
    dev.order(
        10102, OrderStatus.DELIVERED, 260, line("NAV-910", 30), invoice=20540, payment="invoice",
        delivered=254, tracking="PC4410102DE",
    )  # fmt: skip
    dev.plan(3905, "fleet", "active", 700, renews_in=9, items=46)
    return dev.account()


def _eva(today: date) -> Account:
    """Refunds in the other states and a cancelled plan."""
    eva = _Story(
        today,
        "eva",
        "Eva Lindqvist",
        customer_for_days=410,
        address="Rosenstraße 27, 80331 München",
    )
    eva.order(10465, OrderStatus.CANCELLED, 5, line("CLO-610"), invoice=20914, payment="paypal")
    eva.order(
        10333, OrderStatus.REFUNDED, 50, line("JKT-515"), invoice=20779, delivered=45,
        refunded=Decimal("89.00"), tracking="PC4410333DE",
    )  # fmt: skip
    eva.order(
        10290, OrderStatus.REFUNDED, 75, line("LGT-810"), line("LGT-815"), invoice=20735,
        delivered=70, refunded=Decimal("94.00"), tracking="PC4410290DE",
    )  # fmt: skip
    eva.order(
        10288, OrderStatus.DELIVERED, 76, line("BOT-315"), invoice=20733, delivered=72,
        tracking="PC4410288DE",
    )  # fmt: skip
    eva.refund(30118, 10333, "89.00", "approved", 3, "damaged")
    eva.refund(30075, 10290, "94.00", "paid", 60, "unwanted")
    eva.refund(30091, 10288, "129.00", "rejected", 30, "unwanted")
    eva.plan(3990, "care", "cancelled", 380, ended=20)
    return eva.account()


def _finn(today: date) -> Account:
    """New: one unpaid order, no plan, no refund."""
    finn = _Story(
        today,
        "finn",
        "Finn Jansen",
        customer_for_days=1,
        address="Deichstraße 2, 26721 Emden",
    )
    finn.order(10503, OrderStatus.PENDING, 0, line("LGT-802"), invoice=20952, payment="paypal")
    return finn.account()
