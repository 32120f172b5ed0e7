"""The routes of Halden's service."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from domains.halden.backend import records as r
from domains.halden.backend.plans import FIBRE, MOBILE, PACKS
from domains.halden.backend.seed import seed
from domains.halden.backend.store import Books, KeyReused, Store

R = TypeVar("R", bound=BaseModel)
Held = Callable[[Request], Awaitable[None]]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]

FINDINGS = {
    "ok": ("The line is in order.", "Die Leitung ist in Ordnung."),
    "weak_signal": (
        "The signal on the line is weak; a technician should look at it.",
        "Das Signal auf der Leitung ist schwach; das sollte sich ein Techniker ansehen.",
    ),
    "no_signal": (
        "No signal arrives at your socket.",
        "An Ihrer Dose kommt kein Signal an.",
    ),
    "router_offline": (
        "The line is in order, but your router does not answer.",
        "Die Leitung ist in Ordnung, aber Ihr Router antwortet nicht.",
    ),
    "not_yet_active": (
        "The line is not switched on yet.",
        "Die Leitung ist noch nicht freigeschaltet.",
    ),
}


async def hold_nothing(_request: Request) -> None:
    """Every answer goes out at once."""


def create_backend(
    path: Path, key: str, held: Held = hold_nothing, *, resettable: bool = False
) -> FastAPI:
    """The service over one SQLite file; `held` is waited for after a write, before its answer.

    One that is `resettable` puts its demo data back when asked to, which is for evals alone."""
    store = Store(path)
    with store.transaction() as books:
        seed(books, datetime.now(UTC).date())
    app = FastAPI(
        title="Halden Fibre customer service",
        version="1.0.0",
        dependencies=[Depends(bearer_of(key))],
        responses={401: {"model": r.Problem}, 404: {"model": r.Problem}},
    )

    @app.middleware("http")
    async def hold(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await follow(request)
        if request.method != "GET":
            await held(request)
        return answer

    Routes(store).attach(app)
    if resettable:

        @app.post("/reset", status_code=204, include_in_schema=False)
        def reset() -> None:
            with store.transaction() as books:
                books.clear()
                seed(books, datetime.now(UTC).date())

    return app


def bearer_of(key: str) -> Callable[[HTTPAuthorizationCredentials], None]:
    """Refuses a request that does not carry the key."""
    scheme = HTTPBearer()

    def check(given: Annotated[HTTPAuthorizationCredentials, Depends(scheme)]) -> None:
        if not secrets.compare_digest(given.credentials.encode(), key.encode()):
            raise refused(401, "unauthorised", "The bearer token is wrong.")

    return check


def refused(status: int, code: str, detail: str) -> HTTPException:
    """A refusal with a code that programs can read."""
    return HTTPException(status, {"code": code, "detail": detail})


def needed(record: R | None) -> R:
    """The record, or 404."""
    if record is None:
        raise refused(404, "not_found", "There is no such record.")
    return record


def once(books: Books, key: str | None, request: object, kind: type[R], work: Callable[[], R]) -> R:
    """Do the work, or answer as before when the key came before."""
    if key is None:
        return work()
    try:
        before = books.answered(key, request, kind)
    except KeyReused as error:
        raise refused(409, "key_reused", "This key belongs to another request.") from error
    if before is not None:
        return before
    answer = work()
    books.answer(key, request, answer)
    return answer


class Routes:
    """The handlers, over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def attach(self, app: FastAPI) -> None:
        """Every operation by its method, path and name."""
        for method, path, handler in [
            ("GET", "/customers/{customer_id}", self.get_customer),
            ("PATCH", "/customers/{customer_id}/contact", self.change_contact),
            ("GET", "/customers/{customer_id}/lines", self.list_lines),
            ("GET", "/customers/{customer_id}/appointments", self.list_appointments),
            ("GET", "/customers/{customer_id}/sims", self.list_sims),
            ("GET", "/customers/{customer_id}/invoices", self.list_invoices),
            ("GET", "/customers/{customer_id}/contracts", self.list_contracts),
            ("GET", "/customers/{customer_id}/disputes", self.list_disputes),
            ("GET", "/customers/{customer_id}/moves", self.list_moves),
            ("GET", "/outages", self.list_outages),
            ("GET", "/plans", self.list_plans),
            ("GET", "/lines/{line_id}", self.get_line),
            ("POST", "/lines/{line_id}/checks", self.check_line),
            ("PUT", "/lines/{line_id}/plan", self.change_fibre_plan),
            ("POST", "/lines/{line_id}/appointments", self.book_appointment),
            ("POST", "/lines/{line_id}/moves", self.announce_move),
            ("GET", "/appointments/{appointment_id}", self.get_appointment),
            ("PUT", "/appointments/{appointment_id}/time", self.reschedule_appointment),
            ("POST", "/appointments/{appointment_id}/cancel", self.cancel_appointment),
            ("GET", "/sims/{sim_id}", self.get_sim),
            ("GET", "/sims/{sim_id}/usage", self.get_usage),
            ("PUT", "/sims/{sim_id}/plan", self.change_mobile_plan),
            ("PUT", "/sims/{sim_id}/block", self.block_sim),
            ("DELETE", "/sims/{sim_id}/block", self.unblock_sim),
            ("POST", "/sims/{sim_id}/replacement", self.replace_sim),
            ("POST", "/sims/{sim_id}/data-packs", self.book_data_pack),
            ("GET", "/invoices/{invoice_id}", self.get_invoice),
            ("POST", "/invoices/{invoice_id}/copies", self.send_invoice),
            ("POST", "/invoices/{invoice_id}/disputes", self.dispute_charge),
            ("GET", "/contracts/{contract_id}", self.get_contract),
            ("POST", "/contracts/{contract_id}/cancel", self.cancel_contract),
        ]:
            app.add_api_route(
                path,
                handler,
                methods=[method],
                operation_id=handler.__name__,
                status_code=201 if handler in (self.book_appointment, self.announce_move) else 200,
            )

    # --- customers ---

    def get_customer(self, customer_id: str) -> r.Customer:
        """Who a customer is."""
        with self._store.transaction() as books:
            return needed(books.find(r.Customer, customer_id))

    def change_contact(self, customer_id: str, change: r.ContactChange) -> r.Customer:
        """Set the e-mail address or the telephone number."""
        with self._store.transaction() as books:
            customer = needed(books.find(r.Customer, customer_id))
            customer = customer.model_copy(update=change.model_dump(exclude_none=True))
            books.keep(customer_id, customer_id, customer)
            return customer

    def list_lines(self, customer_id: str) -> r.Lines:
        """A customer's internet lines."""
        with self._store.transaction() as books:
            return r.Lines(data=books.of(r.Line, customer_id))

    def list_appointments(
        self, customer_id: str, client_reference: str | None = None
    ) -> r.Appointments:
        """A customer's visits, or the one with a client reference."""
        with self._store.transaction() as books:
            found = books.of(r.Appointment, customer_id)
        return r.Appointments(
            data=[a for a in found if client_reference in (None, a.client_reference)]
        )

    def list_sims(self, customer_id: str) -> r.Sims:
        """A customer's mobile plans."""
        with self._store.transaction() as books:
            return r.Sims(data=books.of(r.Sim, customer_id))

    def list_invoices(self, customer_id: str) -> r.Invoices:
        """A customer's invoices."""
        with self._store.transaction() as books:
            return r.Invoices(data=books.of(r.Invoice, customer_id))

    def list_contracts(self, customer_id: str) -> r.Contracts:
        """A customer's contracts."""
        with self._store.transaction() as books:
            return r.Contracts(data=books.of(r.Contract, customer_id))

    def list_disputes(self, customer_id: str, client_reference: str | None = None) -> r.Disputes:
        """A customer's disputes, or the one with a client reference."""
        with self._store.transaction() as books:
            found = books.of(r.Dispute, customer_id)
        return r.Disputes(data=[d for d in found if client_reference in (None, d.client_reference)])

    def list_moves(self, customer_id: str, client_reference: str | None = None) -> r.Moves:
        """A customer's announced moves, or the one with a client reference."""
        with self._store.transaction() as books:
            found = books.of(r.Move, customer_id)
        return r.Moves(data=[m for m in found if client_reference in (None, m.client_reference)])

    # --- the network ---

    def list_outages(self, postcode: str) -> r.Outages:
        """Faults and planned work in an area."""
        with self._store.transaction() as books:
            found = books.of(r.Outage, "")
        return r.Outages(data=[outage for outage in found if outage.postcode == postcode])

    def list_plans(self, kind: Literal["fibre", "mobile"]) -> r.PlanOptions:
        """What can be chosen."""
        return r.PlanOptions(data=FIBRE if kind == "fibre" else MOBILE)

    def get_line(self, line_id: str) -> r.Line:
        """A line."""
        with self._store.transaction() as books:
            return needed(books.find(r.Line, line_id))

    def check_line(self, line_id: str) -> r.Check:
        """Measure a line from the exchange; nothing is changed."""
        with self._store.transaction() as books:
            line = needed(books.find(r.Line, line_id))
        finding = finding_of(line)
        return r.Check(
            check_id="K-" + secrets.token_hex(4),
            line_id=line_id,
            tested_at=datetime.now(UTC),
            finding=finding,
            text_en=FINDINGS[finding][0],
            text_de=FINDINGS[finding][1],
            measured_down_mbit={"good": line.down_mbit, "weak": 11, "none": 0}[line.signal],
        )

    def change_fibre_plan(self, line_id: str, choice: r.FibreChoice) -> r.Line:
        """Set the plan from the first of next month on."""
        with self._store.transaction() as books:
            line = needed(books.find(r.Line, line_id))
            if line.status != "active":
                raise refused(409, "line_not_active", "Only an active line has a plan to change.")
            line = line.model_copy(
                update={"next_plan": choice.plan, "next_plan_from": first_of_next_month()}
            )
            books.keep(line_id, line.customer_id, line)
            return line

    def book_appointment(self, line_id: str, booking: r.Booking) -> r.Appointment:
        """Book a technician; the client reference is kept, a second one is another visit."""
        with self._store.transaction() as books:
            line = needed(books.find(r.Line, line_id))
            if booking.day <= datetime.now(UTC).date():
                raise refused(409, "day_not_free", "A visit can be booked from tomorrow on.")
            visit = r.Appointment(
                appointment_id=f"A-{4100 + books.count(r.Appointment)}",
                customer_id=line.customer_id,
                line_id=line_id,
                status="booked",
                **booking.model_dump(),
            )
            books.keep(visit.appointment_id, visit.customer_id, visit)
            return visit

    def announce_move(self, line_id: str, move: r.NewMove) -> r.Move:
        """Keep where a line shall move to; the client reference is kept."""
        with self._store.transaction() as books:
            line = needed(books.find(r.Line, line_id))
            kept = r.Move(
                move_id=f"M-{8001 + books.count(r.Move)}",
                line_id=line_id,
                customer_id=line.customer_id,
                status="announced",
                **move.model_dump(),
            )
            books.keep(kept.move_id, kept.customer_id, kept)
            return kept

    # --- visits ---

    def get_appointment(self, appointment_id: str) -> r.Appointment:
        """A visit."""
        with self._store.transaction() as books:
            return needed(books.find(r.Appointment, appointment_id))

    def reschedule_appointment(self, appointment_id: str, time: r.NewDay) -> r.Appointment:
        """Set a visit's day and part of the day."""
        if time.day <= datetime.now(UTC).date():
            raise refused(409, "day_not_free", "A visit can be booked from tomorrow on.")
        return self._change_visit(appointment_id, time.model_dump())

    def cancel_appointment(self, appointment_id: str) -> r.Appointment:
        """Cancel a visit."""
        return self._change_visit(appointment_id, {"status": "cancelled"})

    def _change_visit(self, appointment_id: str, change: Mapping[str, object]) -> r.Appointment:
        with self._store.transaction() as books:
            visit = needed(books.find(r.Appointment, appointment_id))
            if visit.status != "booked":
                raise refused(409, "not_booked", "Only a booked visit can be changed.")
            visit = visit.model_copy(update=change)
            books.keep(appointment_id, visit.customer_id, visit)
            return visit

    # --- mobile ---

    def get_sim(self, sim_id: str) -> r.Sim:
        """A mobile plan and its SIM."""
        with self._store.transaction() as books:
            return needed(books.find(r.Sim, sim_id))

    def get_usage(self, sim_id: str) -> r.Usage:
        """How much data is left."""
        sim = self.get_sim(sim_id)
        return r.Usage(
            sim_id=sim_id,
            data_gb=sim.data_gb,
            used_gb=sim.used_gb,
            left_gb=round(max(sim.data_gb - sim.used_gb, 0), 1),
            renews_on=sim.renews_on,
        )

    def change_mobile_plan(self, sim_id: str, choice: r.MobileChoice) -> r.Sim:
        """Set the plan from the first of next month on."""
        change = {"next_plan": choice.plan, "next_plan_from": first_of_next_month()}
        return self._change_sim(sim_id, change)

    def block_sim(self, sim_id: str, block: r.Block) -> r.Sim:
        """Block a SIM; a second time changes nothing."""
        return self._change_sim(sim_id, {"status": "blocked", "blocked_because": block.because})

    def unblock_sim(self, sim_id: str) -> r.Sim:
        """Take a block back; a second time changes nothing."""
        return self._change_sim(sim_id, {"status": "active", "blocked_because": None})

    def replace_sim(self, sim_id: str, choice: r.Replacement, idempotency_key: Key = None) -> r.Sim:
        """Order a replacement SIM (9.90 EUR a card, an eSIM is free)."""
        state = "esim_ready" if choice.kind == "esim" else "card_on_its_way"
        with self._store.transaction() as books:
            sim = needed(books.find(r.Sim, sim_id))

            def work() -> r.Sim:
                changed = sim.model_copy(update={"replacement": state})
                books.keep(sim_id, sim.customer_id, changed)
                return changed

            asked = [sim_id, choice.model_dump()]
            return once(books, idempotency_key, asked, r.Sim, work)

    def book_data_pack(
        self, sim_id: str, choice: r.PackChoice, idempotency_key: Key = None
    ) -> r.DataPack:
        """Add data to the running month, charged with the next invoice."""
        size, price = PACKS[choice.size]
        with self._store.transaction() as books:
            sim = needed(books.find(r.Sim, sim_id))

            def work() -> r.DataPack:
                # Asked only now: what was booked under the key stays booked, whatever became of the SIM.
                if sim.status != "active":
                    raise refused(409, "sim_not_active", "Only an active SIM can have a data pack.")
                changed = sim.model_copy(update={"data_gb": sim.data_gb + size})
                books.keep(sim_id, sim.customer_id, changed)
                pack = r.DataPack(
                    pack_id=f"P-{9001 + books.count(r.DataPack)}",
                    sim_id=sim_id,
                    customer_id=sim.customer_id,
                    size=choice.size,
                    price=price,
                    data_gb=changed.data_gb,
                    bought_at=datetime.now(UTC),
                )
                books.keep(pack.pack_id, pack.customer_id, pack)
                return pack

            asked = [sim_id, choice.model_dump()]
            return once(books, idempotency_key, asked, r.DataPack, work)

    def _change_sim(self, sim_id: str, change: Mapping[str, object]) -> r.Sim:
        with self._store.transaction() as books:
            sim = needed(books.find(r.Sim, sim_id))
            if sim.status == "ended":
                raise refused(409, "sim_ended", "This mobile plan has ended.")
            sim = sim.model_copy(update=change)
            books.keep(sim_id, sim.customer_id, sim)
            return sim

    # --- money ---

    def get_invoice(self, invoice_id: str) -> r.Invoice:
        """An invoice."""
        with self._store.transaction() as books:
            return needed(books.find(r.Invoice, invoice_id))

    def send_invoice(self, invoice_id: str) -> r.Sent:
        """Send an invoice by e-mail again: no key, no reference; the invoice counts its copies."""
        with self._store.transaction() as books:
            invoice = needed(books.find(r.Invoice, invoice_id))
            customer = needed(books.find(r.Customer, invoice.customer_id))
            invoice = invoice.model_copy(update={"copies_sent": invoice.copies_sent + 1})
            books.keep(invoice_id, invoice.customer_id, invoice)
            return r.Sent(invoice_id=invoice_id, sent_to=customer.email)

    def dispute_charge(self, invoice_id: str, dispute: r.NewDispute) -> r.Dispute:
        """Open a dispute about a part of an invoice; the client reference is kept."""
        with self._store.transaction() as books:
            invoice = needed(books.find(r.Invoice, invoice_id))
            if dispute.amount > invoice.total:
                raise refused(409, "too_much", "The invoice is not as high as that.")
            kept = r.Dispute(
                dispute_id=f"D-{6601 + books.count(r.Dispute)}",
                invoice_id=invoice_id,
                customer_id=invoice.customer_id,
                status="open",
                **dispute.model_dump(),
            )
            books.keep(kept.dispute_id, kept.customer_id, kept)
            disputed = invoice.model_copy(update={"disputed": True})
            books.keep(invoice_id, invoice.customer_id, disputed)
            return kept

    def get_contract(self, contract_id: str) -> r.Contract:
        """A contract."""
        with self._store.transaction() as books:
            return needed(books.find(r.Contract, contract_id))

    def cancel_contract(self, contract_id: str) -> r.Contract:
        """End a contract on the first day that its terms allow."""
        with self._store.transaction() as books:
            contract = needed(books.find(r.Contract, contract_id))
            if contract.status != "active":
                raise refused(409, "not_active", "This contract is cancelled already.")
            today = datetime.now(UTC).date()
            ends = max(contract.minimum_until, today + timedelta(days=30))
            contract = contract.model_copy(update={"status": "cancelled", "ends_on": ends})
            books.keep(contract_id, contract.customer_id, contract)
            return contract


def finding_of(line: r.Line) -> r.Finding:
    """What a check of this line says."""
    if line.status == "ordered":
        return "not_yet_active"
    if line.signal != "good":
        return "no_signal" if line.signal == "none" else "weak_signal"
    return "ok" if line.router_online else "router_offline"


def first_of_next_month() -> date:
    """The day from which a new plan counts."""
    today = datetime.now(UTC).date()
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1)
