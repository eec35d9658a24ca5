"""What JupyterHub loads: who signs in, what starts, and the pages in between.

Knows the allocation service by HTTP only.
"""
