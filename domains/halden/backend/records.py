"""What Halden keeps of its customers, as its API shows it."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

FibrePlan = Literal["fibre_100", "fibre_250", "fibre_500", "fibre_1000"]
MobilePlan = Literal["mobile_s", "mobile_m", "mobile_l", "mobile_unlimited"]
Finding = Literal["ok", "weak_signal", "no_signal", "router_offline", "not_yet_active"]
Window = Literal["morning", "midday", "afternoon"]


class Customer(BaseModel):
    """A person who has a contract with us."""

    customer_id: str
    name: str
    email: str
    phone: str
    country: Literal["DE", "NO"]
    customer_since: date
    tariff_group: Literal["standard", "care"] = "standard"


class Line(BaseModel):
    """An internet line at an address."""

    line_id: str
    customer_id: str
    status: Literal["ordered", "active", "suspended", "ended"]
    street: str
    postcode: str
    town: str
    plan: FibrePlan
    next_plan: FibrePlan | None = None
    next_plan_from: date | None = None
    price: float
    down_mbit: int
    up_mbit: int
    signal: Literal["good", "weak", "none"]
    router: str
    router_online: bool
    voice: bool = False
    activated_on: date | None = None
    expected_on: date | None = None


class Check(BaseModel):
    """What a line check found."""

    check_id: str
    line_id: str
    tested_at: datetime
    finding: Finding
    text_en: str
    text_de: str
    measured_down_mbit: int


class Outage(BaseModel):
    """A fault or planned work in an area."""

    outage_id: str
    postcode: str
    town: str
    kind: Literal["fault", "planned_work"]
    cause: str
    started_at: datetime
    expected_end: datetime


class Appointment(BaseModel):
    """A technician's visit."""

    appointment_id: str
    customer_id: str
    line_id: str
    status: Literal["booked", "missed", "done", "cancelled"]
    day: date
    window: Window
    purpose: Literal["installation", "repair", "router_swap"]
    client_reference: str | None = None


class Sim(BaseModel):
    """A mobile plan with its SIM card."""

    sim_id: str
    customer_id: str
    number: str
    plan: MobilePlan
    next_plan: MobilePlan | None = None
    next_plan_from: date | None = None
    price: float
    status: Literal["ordered", "active", "blocked", "ended"]
    blocked_because: str | None = None
    kind: Literal["card", "esim"]
    data_gb: float
    used_gb: float
    renews_on: date
    replacement: Literal["none", "card_on_its_way", "esim_ready"] = "none"


class InvoiceLine(BaseModel):
    """One charge of an invoice."""

    code: str
    name: str
    quantity: int = 1
    price: float


class Invoice(BaseModel):
    """A month's invoice."""

    invoice_id: str
    customer_id: str
    status: Literal["open", "paid", "overdue"]
    month: str
    issued_on: date
    due_on: date
    total: float
    lines: list[InvoiceLine]
    copies_sent: int = 0
    disputed: bool = False


class Dispute(BaseModel):
    """A charge that the customer does not accept."""

    dispute_id: str
    invoice_id: str
    customer_id: str
    status: Literal["open", "accepted", "rejected"]
    amount: float
    reason: str
    client_reference: str


class Contract(BaseModel):
    """A contract about a line or a mobile plan."""

    contract_id: str
    customer_id: str
    about: str
    kind: Literal["fibre", "mobile"]
    status: Literal["active", "cancelled", "ended"]
    started_on: date
    minimum_until: date
    notice_until: date
    ends_on: date | None = None
    monthly: float


class Move(BaseModel):
    """A change of address that a customer announced."""

    move_id: str
    line_id: str
    customer_id: str
    status: Literal["announced", "refused", "done"]
    moving_on: date
    street: str
    postcode: str
    town: str
    client_reference: str


class DataPack(BaseModel):
    """Extra data that was bought for the running month."""

    pack_id: str
    sim_id: str
    customer_id: str
    size: Literal["gb_1", "gb_5", "gb_20"]
    price: float
    data_gb: float
    bought_at: datetime


class Usage(BaseModel):
    """How much of a SIM's data is used."""

    sim_id: str
    data_gb: float
    used_gb: float
    left_gb: float
    renews_on: date


class PlanOption(BaseModel):
    """A plan that can be chosen."""

    plan: str
    name: str
    price: float
    text: str


class ContactChange(BaseModel):
    """New ways to reach a customer; what is absent stays as it is."""

    email: str | None = Field(None, description="the new e-mail address")
    phone: str | None = Field(None, description="the new telephone number")


class FibreChoice(BaseModel):
    """The fibre plan to change to."""

    plan: FibrePlan = Field(description="the fibre plan to change to")


class MobileChoice(BaseModel):
    """The mobile plan to change to."""

    plan: MobilePlan = Field(description="the mobile plan to change to")


class NewDay(BaseModel):
    """A new day and part of the day for a visit."""

    day: date = Field(description="the new day of the visit")
    window: Window = Field(description="morning 8-12, midday 11-15, afternoon 14-18")


class Booking(NewDay):
    """A visit to be booked."""

    purpose: Literal["repair", "router_swap"]
    client_reference: str = Field(max_length=64)


class NewDispute(BaseModel):
    """A charge to be disputed."""

    amount: float = Field(gt=0, description="the amount that is not accepted")
    reason: str = Field(max_length=2000, description="why, in the customer's words")
    client_reference: str = Field(max_length=64)


class NewMove(BaseModel):
    """A move to be announced."""

    moving_on: date = Field(description="the day of the move")
    street: str = Field(description="street and number of the new home")
    postcode: str = Field(pattern=r"^\d{4,5}$", description="postcode of the new home")
    town: str = Field(description="town of the new home")
    client_reference: str = Field(max_length=64)


class Block(BaseModel):
    """Why a SIM is blocked."""

    because: Literal["lost", "stolen", "other"]


class Replacement(BaseModel):
    """The kind of SIM that replaces the old one."""

    kind: Literal["card", "esim"]


class PackChoice(BaseModel):
    """The data pack to book."""

    size: Literal["gb_1", "gb_5", "gb_20"]


class Sent(BaseModel):
    """An invoice went out by e-mail."""

    invoice_id: str
    sent_to: str


class Problem(BaseModel):
    """Why a request was refused."""

    code: str
    detail: str


class Lines(BaseModel):
    """Lines."""

    data: list[Line]


class Outages(BaseModel):
    """Outages."""

    data: list[Outage]


class Appointments(BaseModel):
    """Visits, the newest first."""

    data: list[Appointment]


class Sims(BaseModel):
    """Mobile plans."""

    data: list[Sim]


class Invoices(BaseModel):
    """Invoices, the newest first."""

    data: list[Invoice]


class Disputes(BaseModel):
    """Disputes."""

    data: list[Dispute]


class Contracts(BaseModel):
    """Contracts."""

    data: list[Contract]


class Moves(BaseModel):
    """Announced moves."""

    data: list[Move]


class PlanOptions(BaseModel):
    """Plans that can be chosen."""

    data: list[PlanOption]
