"""What people look at: the tables on a terminal, and one HTML file that stands alone."""
