"""`python -m dola` is the command `dola`."""

from dola.cli.main import main

main()
