"""The command line: parse, call, print. Slow imports are inside the commands, so that --help is fast."""
