"""The command line: one file per command family, each loaded only when it is asked for."""
