"""A PKCS#11 token as its administrator knows it: SoftHSM2's, past the store."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
