"""A shop with invoices."""
