"""A PKCS#11 token as its administrator knows it: SoftHSM2's, past the store."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from store.initialising import initialise
from store.settings import Settings

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
           "/usr/local/lib/softhsm/libsofthsm2.so")  # fmt: skip
PIN = "13572468"


@dataclass
class Token:
    """A token of its own."""

    module: str
    label: str
    pin_file: Path

    def uri(self, label: str = "kek") -> str:
        return f"pkcs11:token={self.label};object={label}?module-path={self.module}"

    def destroy(self, label: str = "kek") -> None:
        """Destroy the key as an administrator would: past the store, in another process."""
        code = (
            "import sys, pkcs11\n"
            "token = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2])\n"
            "with token.open(rw=True, user_pin=sys.argv[3]) as session:\n"
            "    for one in list(session.get_objects({pkcs11.Attribute.LABEL: sys.argv[4]})):\n"
            "        one.destroy()\n"
        )
        words = [sys.executable, "-c", code, self.module, self.label, PIN, label]
        subprocess.run(words, check=True, env=os.environ)


def made_under(token: Token, label: str, home: Path) -> Settings:
    """Return the settings of a store that is made: a folder, SQLite, its key in a token."""
    environment = {
        "METERKEEP_HOME": str(home),
        "METERKEEP_KEK": token.uri(label),
        "METERKEEP_PKCS11_PIN_FILE": str(token.pin_file),
    }
    made = Settings.from_environment(environment)
    initialise(made)
    return made
