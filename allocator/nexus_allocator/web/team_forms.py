"""What people type on a team's pages, checked field by field."""

from dataclasses import dataclass
from uuid import UUID

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import InvalidRequest
from nexus_allocator.domain.states import Role, ShareKind
from nexus_allocator.services.allocations import LARGEST_MICRO
from nexus_allocator.web.forms import Errors, number

NO_SHARE = "none"
ROLE_LABELS = {Role.LEAD: "Lead", Role.MANAGER: "Manager", Role.MEMBER: "Member"}


@dataclass(frozen=True)
class InviteForm:
    whom: str = ""
    role: str = Role.MEMBER.value

    def errors(self) -> Errors:
        errors: Errors = {}
        if not self.whom.strip():
            errors["whom"] = "Write a hub name or an e-mail address."
        if self.role not in (Role.MEMBER, Role.MANAGER):
            errors["role"] = "Choose member or manager."
        return errors


@dataclass(frozen=True)
class ShareForm:
    """A part of the allocation as it was typed; the kind ``none`` takes it away."""

    kind: str = NO_SHARE
    amount: str = ""

    def errors(self) -> Errors:
        if self.kind == NO_SHARE:
            return {}
        errors: Errors = {}
        if self.kind not in [kind.value for kind in ShareKind]:
            errors["kind"] = "Choose one of the three."
        if self.amount_micro() is None:
            errors["amount"] = "Give a number of credits from zero up, such as 500 or 12.5."
        return errors

    def amount_micro(self) -> int | None:
        """Return the amount in micro-credits; None for what is none."""
        amount = number(self.amount)
        if amount is None or amount < 0 or amount * MICRO % 1 or amount * MICRO > LARGEST_MICRO:
            return None
        return int(amount * MICRO)


def group_id(text: str) -> UUID | None:
    """Return the sub-group chosen, None for none. Raises InvalidRequest for what no page offers."""
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidRequest(problem="this is no sub-group") from error
