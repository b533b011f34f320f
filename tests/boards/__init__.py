"""What boards look like to a runner: sysfs trees and line formats, written by hand from the documented formats.

Each module has builder functions that write one kind of board below a root and return what a test turns: the
folder of a sensor, or a function that sets its power. They are read as documentation, so they spell things out.
"""
