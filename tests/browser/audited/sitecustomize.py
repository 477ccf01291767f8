"""Python imports this at its start if the folder is on PYTHONPATH: it lists the files that the process opens."""

import os
import sys

if "AUDIT_FILE" in os.environ:
    listing = os.open(os.environ["AUDIT_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    seen = set()

    def _write_new_path(event, arguments):
        if event == "open" and isinstance(arguments[0], str) and arguments[0] not in seen:
            seen.add(arguments[0])
            os.write(listing, os.fsencode(arguments[0]) + b"\n")

    sys.addaudithook(_write_new_path)
