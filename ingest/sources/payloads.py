"""What the payload of a meter's response says, whichever fuel; with a proof, only what is proven.

The responses of 4.8.1, 4.8.2 and 4.8.3 by their message codes (domain 6.2). There is no bit for a
read's quality: what is there was measured, a missing half-hour of electricity is a row that is not
there, and gas has its error codes (`ingest.validate`).
"""

from __future__ import annotations

from ingest.sources import gas
from ingest.sources.electricity import LOGS, electricity
from ingest.sources.frames import Frame
from ingest.sources.logs import Log
from ingest.sources.proofs import Proof
from ingest.sources.variants import not_kept
from store.errors import InputError

NOT_KEPT = {  # known, and no half-hours of energy
    0x0033: "4.6.1", 0x0077: "4.6.1", 0x0035: "4.6.2", 0x0039: "4.10", 0x00BC: "4.10",
    0x0079: "4.10", 0x0060: "4.17",
}  # fmt: skip


def read(frame: Frame, proof: Proof | None) -> Log:
    """Return what ``frame`` says; with ``proof``, only what is proven to be its meter's.

    Raises:
        InputError: ``srv_not_kept``, ``malformed_message``, ``not_half_hours``,
            ``payload_encrypted`` without a proof, ``mac_invalid``, ``mac_of_another``.
    """
    if frame.code not in LOGS and frame.code != gas.CODE:
        raise not_kept(NOT_KEPT.get(frame.code))
    if proof is not None and not frame.beyond:
        proof.check(frame)
    log = gas.gas(frame, proof) if frame.code == gas.CODE else electricity(frame, proof)
    if proof is not None and frame.beyond and not log.sealed and log.fault is None:
        raise InputError(
            "the MAC of this message is for another party than its reader, and nothing in it is "
            "encrypted: bring it without --key-file, with --signer-file where the DCC signed it",
            code="mac_of_another",
        )
    return log
