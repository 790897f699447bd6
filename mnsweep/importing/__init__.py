"""Import trained MobileNets: readers of other people's files, one walker that matches their operators to our layers."""
