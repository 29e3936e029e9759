"""`python -m tfaot`."""

from tfaot.cli.main import main

main()
