"""`python -m wood`."""

from wood.cli import main

if __name__ == "__main__":
    main()
