"""``python -m xnorflow``."""

from xnorflow.flows.cli import main

main()
