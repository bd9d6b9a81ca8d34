"""`python -m hedra_batch` is the same as `hedra-batch`."""

from hedra_batch.cli.main import main

if __name__ == "__main__":
    main()
