"""`python -m edgerun` is `edgerun`."""

from edgerun.cli.main import main

if __name__ == "__main__":
    main()
