"""One function a command: a frozen request in, a frozen outcome out."""
