"""The version of mnsweep."""

VERSION = "0.1.0"
