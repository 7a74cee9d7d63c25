"""`python -m camd`."""

from camd.cli import main

main(prog_name="camd")
