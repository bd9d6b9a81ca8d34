"""What the program costs and how even its pace is, each figure beside its limit or its rival, measured in one run."""
