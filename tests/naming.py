"""Names of parametrised tests."""

import re


def shown(value):
    """Show a value without the addresses that its repr may have, so that names are alike in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
