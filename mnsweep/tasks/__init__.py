"""What a network can learn: for each kind of label how its files are read, and how answers are scored.

`kinds.py` has the table; a row of `names/tasks.py` names a kind. How it is trained is in `training/objectives`.
"""
