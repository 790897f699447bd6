"""What was found, for people: the table and the plots. Everything here can be drawn again from the blocks."""
