"""``python -m salesops_kit`` is the ``salesops`` command."""

from salesops_kit.cli import main

main()
