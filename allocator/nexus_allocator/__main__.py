"""``python -m nexus_allocator`` is the command line."""

from nexus_allocator.cli import main

main()
