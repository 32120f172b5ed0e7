"""When a business's people are there: its hours as OpenStreetMap writes them, holidays among them."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import opening_hours
from opening_hours import OpeningHours

#: Its type stub leaves the errors out.
_UnknownCountry: type[Exception] = opening_hours.UnknownCountryError  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


class Hours:
    """The hours of one business, for example ``Mo-Fr 08:00-18:00; Sa 09:00-14:00; PH off``."""

    def __init__(self, written: str, zone: ZoneInfo, country: str | None = None) -> None:
        """Raises ValueError for what cannot be read, and for hours at which nobody is ever there."""
        if not opening_hours.validate(written):
            raise ValueError(
                f"{written!r} are no opening hours: write them like Mo-Fr 08:00-18:00; PH off"
            )
        self._zone = zone
        try:
            # Whose public holidays are meant is said by the country.
            self._hours = OpeningHours(written, timezone=zone, country=country)
        except _UnknownCountry as error:
            raise ValueError(f"the public holidays of {country!r} are not known") from error
        if not self._hours.is_open() and self._hours.next_change() is None:
            raise ValueError(f"{written!r}: at these hours nobody is ever there")

    def opens(self, at: datetime) -> datetime | None:
        """When somebody is there again, in the business's own time; None while somebody is."""
        here = at.astimezone(self._zone)
        if self._hours.is_open(here):
            return None
        return self._hours.next_change(here)


@cache
def hours_of(written: str, zone: ZoneInfo, country: str | None = None) -> Hours | None:
    """The hours that are written; None where none are, so that nothing is said of them."""
    return Hours(written, zone, country) if written else None
