"""`python -m amqtask`: the command, where the script is not on the path."""

from amqtask.cli.main import main

if __name__ == "__main__":
    main()
