"""Bookings of this and the next quarter, with their past error beside them."""
