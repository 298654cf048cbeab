"""Brings a broker to what is declared: plan, apply, compare, check, export and import, by the management API."""
