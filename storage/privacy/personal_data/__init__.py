"""The map of personal data: every stored column, and the page that shows it to members.

Holds no SQL and no keys.
"""

from __future__ import annotations

from storage.privacy.personal_data.columns import PERSONAL_DATA, STAYS
from storage.privacy.personal_data.kept import Form, Kept, Whose

__all__ = ["PERSONAL_DATA", "STAYS", "Form", "Kept", "Whose"]
