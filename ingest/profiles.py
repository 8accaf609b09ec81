"""How a file is to be read: a form and its settings, with one canonical text.

    lcl stamp=start
    csv column.end='Read time' column.meter=MPAN register=active_export unit=kWh

The text stands in the ledger beside the file's digest, and a replay reads it back; so it says all
that decides what a line means, except a meter point: of that it says only that one was given.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ingest import meterpoints
from ingest.rules import Rules, Stamp, Unit
from ingest.sources.layout import DELIMITERS, Role
from ingest.sources.proofs import Proof
from ingest.sources.signatures import Signer
from store.errors import InputError
from store.reads import Mpxn, Register

MAX_TEXT = 200  # characters of a profile's text
_COLUMN = "column."


class Form(StrEnum):
    """The forms of file that are understood."""

    LCL = "lcl"
    CSV = "csv"
    OCTOPUS = "octopus"
    PARQUET = "parquet"
    MMC = "mmc"
    DUIS = "duis"
    GBCS = "gbcs"


RESPONSES = {Form.MMC, Form.DUIS, Form.GBCS}  # of a device, to a service request

_STAMPS = {  # where neither the file nor a setting says
    Form.LCL: Stamp.START,
    **dict.fromkeys(RESPONSES, Stamp.END),  # SMETS2; a SMETS1 meter stamps the start (domain 5)
}
_TAKEN_BY = {  # which forms take which setting
    "stamp": {Form.LCL, Form.CSV, Form.PARQUET} | RESPONSES,
    "unit": {Form.CSV, Form.PARQUET},
    "register": {Form.LCL, Form.CSV, Form.OCTOPUS, Form.PARQUET},
    "mpxn": {Form.OCTOPUS, Form.CSV, Form.PARQUET} | RESPONSES,
    "columns": {Form.CSV, Form.PARQUET},
    "delimiter": {Form.CSV},
    "key": {Form.DUIS, Form.GBCS},
    "signer": {Form.DUIS},
}


class Asked:
    """That a key or a signer was given when these lines came: a replay needs it no more."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A form and its settings; None where the file or the form decides.

    Attributes:
        form: The form.
        stamp: Which end of the half-hour a time names, where its column does not say.
        unit: The unit of every value.
        register: The register of every read; gas_import for m3, else active_import.
        mpxn: The meter point of every read.
        columns: Column names by role.
        delimiter: Between columns; a comma.
        key: What the recipient's key says of each message, or that it was asked once; None: no
            message is proven.
        signer: Who signed each response that carries one, or that it was asked once; None: no
            signature is looked at.

    Raises:
        InputError: ``bad_option`` for a setting that the form does not take or that contradicts
            another, ``meter_point_needed``, ``profile_too_long``.
    """

    form: Form
    stamp: Stamp | None = None
    unit: Unit | None = None
    register: Register | None = None
    mpxn: Mpxn | None = field(default=None, repr=False)
    columns: Mapping[Role, str] = field(default_factory=dict)
    delimiter: str | None = None
    key: Proof | Asked | None = field(default=None, repr=False)
    signer: Signer | Asked | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, forms in _TAKEN_BY.items():
            if getattr(self, name) and self.form not in forms:
                raise _bad(f"profile {self.form} takes no {name}")
        if self.form in {Form.OCTOPUS, *RESPONSES} and self.mpxn is None:
            raise InputError(
                "an Octopus export names no meter point, and a response only a device: give --mpxn",
                code="meter_point_needed",
            )
        if self.delimiter is not None and self.delimiter not in DELIMITERS:
            raise _bad("the delimiter is one of , ; | or a tab")
        if self.mpxn is not None and Role.METER in self.columns:
            raise _bad("a meter point and a column for it: give one of them")
        if self.mpxn is not None and self.register and not self.mpxn.carries(self.register):
            raise _bad("a meter point of this fuel has no such register")
        if self.unit and self.register and not self.unit.fits(self.register):
            raise _bad("this register is not written in that unit")
        if len(self.text) > MAX_TEXT:
            raise InputError(
                f"the names of the columns come to more than {MAX_TEXT} characters: rename them",
                code="profile_too_long",
            )

    @property
    def text(self) -> str:
        """The canonical text."""
        stamp = self.stamp or _STAMPS.get(self.form)
        settings = {
            **{_COLUMN + role: name for role, name in self.columns.items()},
            "delimiter": self.delimiter,
            "key": "given" if self.key else None,
            "mpxn": "given" if self.mpxn else None,
            "register": self.register.word if self.register else None,
            "signer": "given" if self.signer else None,
            "stamp": stamp,
            "unit": self.unit,
        }
        told = [f"{key}={shlex.quote(text)}" for key, text in sorted(settings.items()) if text]
        return " ".join([self.form, *told])

    @classmethod
    def parse(cls, text: str, mpxn: Mpxn | None = None) -> Profile:
        """Return the profile whose `text` this is.

        Args:
            text: As the ledger keeps it.
            mpxn: The meter point, where the text says that one was given.

        Raises:
            InputError: ``meter_point_needed`` where it was and is not; ``bad_profile``.
        """
        try:
            form, *pairs = shlex.split(text)
            settings = dict(pair.split("=", 1) for pair in pairs)
            given = settings.pop("mpxn", None)
            columns = {
                Role(key.removeprefix(_COLUMN)): settings.pop(key)
                for key in list(settings)
                if key.startswith(_COLUMN)
            }
            register = settings.pop("register", None)
            stamp, unit = settings.pop("stamp", None), settings.pop("unit", None)
            key, signer = settings.pop("key", None), settings.pop("signer", None)
            if given and mpxn is None:
                raise InputError(
                    "these lines name no meter point: give --mpxn", code="meter_point_needed"
                )
            return cls(
                Form(form),
                stamp=Stamp(stamp) if stamp else None,
                unit=Unit(unit) if unit else None,
                register=Register.parse(register) if register else None,
                mpxn=mpxn,
                columns=columns,
                key=Asked() if key else None,
                signer=Asked() if signer else None,
                **settings,
            )
        except (ValueError, TypeError):
            raise InputError(
                "this profile is not one of this version's: upgrade Meterkeep", code="bad_profile"
            ) from None

    @property
    def given(self) -> frozenset[Role]:
        """The roles that need no column."""
        known = {Role.METER: self.mpxn, Role.UNIT: self.unit, Role.REGISTER: self.register}
        return frozenset(role for role, setting in known.items() if setting)

    @property
    def proof(self) -> Proof | None:
        """What proves a message; None where none is asked for."""
        return self.key if isinstance(self.key, Proof) else None

    @property
    def signed_by(self) -> Signer | None:
        """Who must have signed a response; None where nobody need."""
        return self.signer if isinstance(self.signer, Signer) else None

    @property
    def salt(self) -> bytes:
        """What is hashed before a file: the same bytes for another meter point are another file."""
        return b"" if self.mpxn is None else f"{self.mpxn.text}\n".encode()

    def rules(self, unit: Unit | None = None) -> Rules:
        """Return how its lines are judged; ``unit`` is what the file's own header says."""
        unit = self.unit or unit or Unit.KWH
        register = self.register
        if register is None:
            register = Register.GAS_IMPORT if unit is Unit.M3 else Register.ACTIVE_IMPORT
        if not unit.fits(register):
            raise InputError(
                "the file's unit is not one of its register: gas is kept in m3, electricity in "
                "Wh or kWh; choose with --register, or fetch the export in the other unit",
                code="unit_not_of_register",
            )
        return Rules(
            stamp=self.stamp or _STAMPS.get(self.form, Stamp.START),
            unit=unit,
            register=register,
            mpxn=meterpoints.NONE if self.mpxn is None else meterpoints.number_of(self.mpxn),
            households=self.form is Form.LCL,
        )

    def stamped(self, time: Role) -> Profile:
        """Return this profile for a file whose time stands in the column of role ``time``.

        Raises:
            InputError: ``bad_option`` where the profile's stamp says the opposite.
        """
        said = {Role.START: Stamp.START, Role.END: Stamp.END}.get(time)
        if said is None or self.stamp is said:
            return self
        if self.stamp is not None:
            raise _bad("the column says one end of the half-hour and --stamp the other")
        return replace(self, stamp=said)


def _bad(message: str) -> InputError:
    return InputError(message, code="bad_option")
