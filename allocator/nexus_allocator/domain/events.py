"""Rules for events: what a join code looks like, and who may join when."""

import random
from datetime import datetime, timedelta

# Without what is easily taken for another: no vowels, so that no code is a word, no 0, 1 or L.
SIGNS = "23456789BCDFGHJKMNPQRSTVWXZ"
CODE_LENGTH = 8
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=366)
MOST_PEOPLE = 10_000
# So many codes may one person try in such a time: of 27^8 codes that finds none.
MOST_TRIES, TRIES_WITHIN = 10, timedelta(minutes=10)


def new_code(rng: random.Random) -> str:
    return "".join(rng.choice(SIGNS) for _ in range(CODE_LENGTH))


def typed_code(text: str) -> str:
    """Return a code as it is kept, from what somebody typed: spaces, hyphens and small letters are fine."""
    return "".join(sign for sign in text.upper() if sign.isalnum())[: CODE_LENGTH * 2]


def shown_code(code: str) -> str:
    """Return a code in two halves, as people read it out."""
    return f"{code[: CODE_LENGTH // 2]}-{code[CODE_LENGTH // 2 :]}"


def length_is_sound(starts_at: datetime, ends_at: datetime) -> bool:
    return SHORTEST <= ends_at - starts_at <= LONGEST
