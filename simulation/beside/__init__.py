"""A desk whose orders are filled in this process, beside desks at a broker."""
