"""Records of the devices, stored on the host."""
