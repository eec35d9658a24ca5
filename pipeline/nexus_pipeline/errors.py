"""Refusals of the pipeline: each knows a slug, the facts, and whose hands can mend it."""


class PipelineError(Exception):
    """What every refusal of the pipeline is; ``facts`` are the values its message was made of."""

    code = "pipeline_error"
    exit_status = 1

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts


class InputError(PipelineError):
    """The caller can mend it: another file, another option."""

    code = "bad_input"
    exit_status = 2


class UnreadableProductError(InputError):
    """A file that is not there, truncated, corrupt or not ASDF."""

    code = "product_unreadable"


class WrongProductError(InputError):
    """A sound file that holds something else than was asked for."""

    code = "wrong_product"


class MissingReferenceError(InputError):
    """No rule of the reference store fits the exposure."""

    code = "reference_missing"


class MismatchedReferenceError(InputError):
    """A reference whose kind, detector or shape does not fit what it is applied to."""

    code = "reference_mismatch"


class InvalidProductError(PipelineError):
    """A product we made would break the mission's schema: our fault."""

    code = "invalid_product"


class StorageError(PipelineError):
    """The place refused: full disk, no permission, unreachable object store."""

    code = "storage_failed"
    exit_status = 3


class StepSkipped(Exception):  # noqa: N818 - no error: the exposure gives this step nothing to do
    """A step's word that the data give it nothing to do; its message is the reason told in the product."""
