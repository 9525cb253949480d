"""Command ``python -m storage.privacy.personal_data PAGE``: writes the generated part of the page."""

from __future__ import annotations

import sys

from storage.privacy.personal_data.privacy_page import main

main(sys.argv[1:])
