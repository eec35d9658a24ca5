"""Prints what romancal takes for the members of associations: ``python oracle_associations.py ASN...``."""

import json
import sys
from pathlib import Path

from romancal.associations.lib._rules_elpp_base import DMS_ELPP_Base

if __name__ == "__main__":
    read = [DMS_ELPP_Base.load(Path(path).read_text()) for path in sys.argv[1:]]
    print(json.dumps([[member["expname"] for member in asn["products"][0]["members"]] for asn in read]))
