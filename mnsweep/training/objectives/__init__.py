"""What a training minimizes and validates by, for each kind of label: target, loss, and the quality of an epoch."""
