"""Six customers in different situations."""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

from domains.halden.backend.plans import DATA_GB, SPEED, price_of
from domains.halden.backend.records import (
    Appointment,
    Contract,
    Customer,
    FibrePlan,
    Invoice,
    InvoiceLine,
    Line,
    MobilePlan,
    Outage,
    Sim,
)
from domains.halden.backend.store import Books


def seed(books: Books, today: date) -> None:
    """Fill empty books with the demo customers, as of today."""
    if books.count(Customer):
        return
    demo = Demo(books, today)
    demo.customers()
    demo.lines()
    demo.sims()
    demo.appointments()
    demo.invoices()
    demo.outages()


class Demo:
    """Writes the demo records relative to one day."""

    def __init__(self, books: Books, today: date) -> None:
        self._books = books
        self._today = today

    def customers(self) -> None:
        """Brandt: double charge. Keller: outage. Solheim: late. Wenz: router, lost SIM. Lindqvist:
        moving, data used up. Petersen: overdue, a telephone that must work."""
        for number, name, country, days in [
            ("H-1001", "Maja Brandt", "DE", 900),
            ("H-1002", "Jonas Keller", "DE", 420),
            ("H-1003", "Ingrid Solheim", "NO", 20),
            ("H-1004", "Tobias Wenz", "DE", 1500),
            ("H-1005", "Eva Lindqvist", "NO", 760),
            ("H-1006", "Karl Petersen", "DE", 2900),
        ]:
            first = name.split()[0].lower()
            record = Customer(
                customer_id=number,
                name=name,
                email=f"{first}@mail.example",
                phone="+4940123450" if country == "DE" else "+4755123450",
                country="DE" if country == "DE" else "NO",
                customer_since=self._day(-days),
                tariff_group="care" if number == "H-1006" else "standard",
            )
            self._books.keep(number, number, record)

    def lines(self) -> None:
        """One line each, most of them up."""
        self._line("L-2001", "H-1001", "fibre_250", "Lindenallee 4", "20259", "Hamburg")
        self._line("L-2002", "H-1002", "fibre_500", "Holtenauer Str. 88", "24105", "Kiel", "none")
        self._line("L-2003", "H-1003", "fibre_1000", "Nygårdsgaten 12", "5015", "Bergen", "none")
        self._line(
            "L-2004", "H-1004", "fibre_100", "Karl-Heine-Str. 31", "04229", "Leipzig", "weak"
        )
        self._line("L-2005", "H-1005", "fibre_500", "Thorvald Meyers gate 7", "0555", "Oslo")
        self._line("L-2006", "H-1006", "fibre_100", "Am Hafen 2", "24937", "Flensburg")

    def sims(self) -> None:
        """Mobile plans: one blocked, one nearly used up, one with two cards."""
        self._sim("S-3001", "H-1001", "+491511000001", "mobile_m", 7.4)
        self._sim("S-3002", "H-1002", "+491511000002", "mobile_s", 1.1)
        self._sim("S-3004", "H-1004", "+491511000004", "mobile_l", 12.0)
        self._sim("S-3014", "H-1004", "+491511000014", "mobile_s", 0.3, kind="esim")
        self._sim("S-3005", "H-1005", "+4791000005", "mobile_s", 4.9)
        self._sim("S-3006", "H-1006", "+491511000006", "mobile_s", 0.0, blocked="lost")

    def appointments(self) -> None:
        """A visit that nobody kept, one to come, one that is done."""
        self._visit("A-4001", "H-1001", "L-2001", "done", -200, "installation")
        self._visit("A-4003", "H-1003", "L-2003", "missed", -3, "installation")
        self._visit("A-4013", "H-1003", "L-2003", "booked", 6, "installation")
        self._visit("A-4004", "H-1004", "L-2004", "booked", 2, "router_swap")

    def invoices(self) -> None:
        """Two months each; Brandt's last one has her line twice, Petersen's is overdue."""
        for number, customer, plans in [
            ("1", "H-1001", ["fibre_250", "mobile_m"]),
            ("2", "H-1002", ["fibre_500", "mobile_s"]),
            ("4", "H-1004", ["fibre_100", "mobile_l", "mobile_s"]),
            ("5", "H-1005", ["fibre_500", "mobile_s"]),
            ("6", "H-1006", ["fibre_100", "mobile_s"]),
        ]:
            charges = [InvoiceLine(code=p, name=p, price=price_of(p)) for p in plans]
            self._invoice(f"F-50{number}1", customer, 2, "paid", charges)
            twice = [charges[0], *charges] if customer == "H-1001" else charges
            state = "overdue" if customer == "H-1006" else "open"
            self._invoice(f"F-50{number}2", customer, 1, state, twice)

    def outages(self) -> None:
        """A fault in Kiel and planned work in Oslo."""
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        for outage in [
            Outage(
                outage_id="O-7001",
                postcode="24105",
                town="Kiel",
                kind="fault",
                cause="a cable was cut by building works",
                started_at=now - timedelta(hours=3),
                expected_end=now + timedelta(hours=5),
            ),
            Outage(
                outage_id="O-7002",
                postcode="0555",
                town="Oslo",
                kind="planned_work",
                cause="an exchange is renewed",
                started_at=now + timedelta(days=4),
                expected_end=now + timedelta(days=4, hours=4),
            ),
        ]:
            self._books.keep(outage.outage_id, "", outage)

    def _day(self, days: int) -> date:
        return self._today + timedelta(days=days)

    def _line(
        self,
        number: str,
        customer: str,
        plan: FibrePlan,
        street: str,
        postcode: str,
        town: str,
        signal: Literal["good", "weak", "none"] = "good",
    ) -> None:
        late = number == "L-2003"
        line = Line(
            line_id=number,
            customer_id=customer,
            status="ordered" if late else "active",
            street=street,
            postcode=postcode,
            town=town,
            plan=plan,
            price=price_of(plan),
            down_mbit=SPEED[plan][0],
            up_mbit=SPEED[plan][1],
            signal=signal,
            router="Halden Box 3" if number in ("L-2001", "L-2003") else "Halden Box 2",
            router_online=number not in ("L-2002", "L-2003", "L-2004"),
            voice=number == "L-2006",
            activated_on=None if late else self._day(-300),
            expected_on=self._day(-3) if late else None,
        )
        self._books.keep(number, customer, line)
        self._contract(f"C-6{number[-3:]}", customer, number, "fibre", price_of(plan))

    def _sim(
        self,
        number: str,
        customer: str,
        phone: str,
        plan: MobilePlan,
        used: float,
        *,
        kind: Literal["card", "esim"] = "card",
        blocked: str | None = None,
    ) -> None:
        sim = Sim(
            sim_id=number,
            customer_id=customer,
            number=phone,
            plan=plan,
            price=price_of(plan),
            status="blocked" if blocked else "active",
            blocked_because=blocked,
            kind=kind,
            data_gb=DATA_GB[plan],
            used_gb=used,
            renews_on=self._day(9),
        )
        self._books.keep(number, customer, sim)
        self._contract(f"C-7{number[-3:]}", customer, number, "mobile", price_of(plan))

    def _contract(
        self, number: str, customer: str, about: str, kind: Literal["fibre", "mobile"], price: float
    ) -> None:
        contract = Contract(
            contract_id=number,
            customer_id=customer,
            about=about,
            kind=kind,
            status="active",
            started_on=self._day(-300),
            minimum_until=self._day(430 if kind == "fibre" else -60),
            notice_until=self._day(400 if kind == "fibre" else 30),
            monthly=price,
        )
        self._books.keep(number, customer, contract)

    def _visit(
        self,
        number: str,
        customer: str,
        line: str,
        status: Literal["booked", "missed", "done"],
        days: int,
        purpose: Literal["installation", "repair", "router_swap"],
    ) -> None:
        visit = Appointment(
            appointment_id=number,
            customer_id=customer,
            line_id=line,
            status=status,
            day=self._day(days),
            window="morning",
            purpose=purpose,
        )
        self._books.keep(number, customer, visit)

    def _invoice(
        self,
        number: str,
        customer: str,
        months: int,
        status: Literal["open", "paid", "overdue"],
        charges: list[InvoiceLine],
    ) -> None:
        issued = self._day(-30 * months + 10)
        invoice = Invoice(
            invoice_id=number,
            customer_id=customer,
            status=status,
            month=f"{issued:%Y-%m}",
            issued_on=issued,
            due_on=issued + timedelta(days=7 if status == "overdue" else 40),
            total=round(sum(line.price * line.quantity for line in charges), 2),
            lines=charges,
        )
        self._books.keep(number, customer, invoice)
