"""What dask-gateway loads; knows the allocation service by HTTP only."""
