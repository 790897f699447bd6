"""One function per command: a frozen request in, a frozen outcome out."""
