"""Customers, their invoices, and the jobs that create, settle and report them."""
