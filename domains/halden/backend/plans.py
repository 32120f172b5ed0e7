"""What Halden sells."""

from domains.halden.backend.records import PlanOption

FIBRE = [
    PlanOption(plan="fibre_100", name="Fibre 100", price=29.90, text="100/50 Mbit/s"),
    PlanOption(plan="fibre_250", name="Fibre 250", price=39.90, text="250/125 Mbit/s"),
    PlanOption(plan="fibre_500", name="Fibre 500", price=49.90, text="500/250 Mbit/s"),
    PlanOption(plan="fibre_1000", name="Fibre 1000", price=69.90, text="1000/500 Mbit/s"),
]
MOBILE = [
    PlanOption(plan="mobile_s", name="Mobile S", price=9.90, text="5 GB"),
    PlanOption(plan="mobile_m", name="Mobile M", price=19.90, text="20 GB"),
    PlanOption(plan="mobile_l", name="Mobile L", price=29.90, text="50 GB"),
    PlanOption(plan="mobile_unlimited", name="Mobile Unlimited", price=44.90, text="no limit"),
]
PACKS = {"gb_1": (1.0, 3.90), "gb_5": (5.0, 9.90), "gb_20": (20.0, 19.90)}
DATA_GB = {"mobile_s": 5.0, "mobile_m": 20.0, "mobile_l": 50.0, "mobile_unlimited": 1000.0}
SPEED = {
    "fibre_100": (100, 50),
    "fibre_250": (250, 125),
    "fibre_500": (500, 250),
    "fibre_1000": (1000, 500),
}


def price_of(plan: str) -> float:
    """What a plan costs a month."""
    return next(option.price for option in [*FIBRE, *MOBILE] if option.plan == plan)
