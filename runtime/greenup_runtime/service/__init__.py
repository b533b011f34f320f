"""Files that make greenup-runner a service: systemd units, account, folders, rights on sensors."""
