"""Usage: python -m nexus_allocator.embedded up | down | allocator ARGUMENT ..."""

import sys

from nexus_allocator.embedded.parent import Parent, down, run_allocator
from nexus_allocator.embedded.settings import BadSetting, read_settings


def main(arguments: list[str]) -> int:
    try:
        settings = read_settings()
        match arguments:
            case ["up"]:
                return Parent(settings).run()
            case ["down"]:
                return down(settings)
            case ["allocator", *rest]:
                return run_allocator(settings, tuple(rest))
            case _:
                print(__doc__, file=sys.stderr)  # noqa: T201
                return 2
    except BadSetting as problem:
        print(f"\n{problem}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
