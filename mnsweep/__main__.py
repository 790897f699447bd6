"""`python -m mnsweep`."""

from mnsweep.worker.isolated import put_current_folder_last

if __name__ == "__main__":
    put_current_folder_last()  # Python searches it first: a `queue.py` there would be imported for its own
    from mnsweep.cli.main import main

    main()
