"""Which variants' responses are kept, and where in them which register stands (domain 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from store.errors import InputError
from store.reads import Register

Place = tuple[str, ...]  # the names of elements, from the outside in

TIME = ("Timestamp",)
ELECTRICITY, GAS = ("Electricity",), ("Gas",)


@dataclass(frozen=True, slots=True)
class Kept:
    """A variant whose entries are kept.

    Attributes:
        srv: Its number.
        values: Where below an entry which register stands, and its unit there.
        due: The values that every entry must have, though the schema demands none.
    """

    srv: str
    values: Mapping[Place, tuple[str, Register]]
    due: tuple[Place, ...]


_PRIMARY = (*ELECTRICITY, "PrimaryValue")
_SECONDARY = (*ELECTRICITY, "SecondaryValue")  # of a twin-element meter
VOLUME = (*GAS, "PrimaryValue")
_REACTIVE_IN = ("ReactiveEnergyImportedValue",)
_OUT, _REACTIVE_OUT = ("ActiveEnergyExportedValue",), ("ReactiveEnergyExportedValue",)
KEPT = {
    "ReadActiveImportProfileDataRsp": Kept(
        "4.8.1",
        {
            _PRIMARY: ("Wh", Register.ACTIVE_IMPORT),
            _SECONDARY: ("Wh", Register.ACTIVE_IMPORT_SECONDARY),
            VOLUME: ("m3", Register.GAS_IMPORT),
        },
        (_PRIMARY,),
    ),
    "ReadReactiveImportProfileDataRsp": Kept(
        "4.8.2", {_REACTIVE_IN: ("varh", Register.REACTIVE_IMPORT)}, (_REACTIVE_IN,)
    ),
    "ReadExportProfileDataRsp": Kept(
        "4.8.3",
        {
            _OUT: ("Wh", Register.ACTIVE_EXPORT),
            _REACTIVE_OUT: ("varh", Register.REACTIVE_EXPORT),
        },
        (_OUT, _REACTIVE_OUT),
    ),
}
SRVS = {kept.srv for kept in KEPT.values()}
NOT_KEPT = {  # known, and no half-hours of energy
    "RetrieveImportDailyReadLogRsp": "4.6.1",
    "RetrieveExportDailyReadLogRsp": "4.6.2",
    "ReadNetworkDataRsp": "4.10",
    "RetrieveDailyConsumptionLogRsp": "4.17",
}


def not_kept(srv: str | None) -> InputError:
    """Return the error for a response whose entries are not kept."""
    what = "this is no response to a variant" if srv is None else f"{srv} is known and not one"
    return InputError(f"{what} that is kept: 4.8.1, 4.8.2 and 4.8.3 are", code="srv_not_kept")
