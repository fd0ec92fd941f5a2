"""`python -m failsafe` is the same program as the command `failsafe`."""

from failsafe.cli import main

if __name__ == "__main__":
    main()
