"""Machines with a real kernel, made from Debian's packages and run under QEMU."""
