"""`tightbeam up`: one machine's whole set, owned by one process."""
