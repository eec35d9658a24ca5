"""The object store: a prefix for each account, with credentials that end and reach nothing else."""
