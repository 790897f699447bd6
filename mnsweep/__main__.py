"""`python -m mnsweep`."""

from mnsweep.cli.main import main

if __name__ == "__main__":
    main()
