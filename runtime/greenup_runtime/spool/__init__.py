"""Records wait here until the host has acknowledged them: durable, bounded, open to several processes."""

from greenup_runtime.spool.blocks import Block, Column, of_columns, of_records
from greenup_runtime.spool.bounds import Bounds
from greenup_runtime.spool.spool import Spool

__all__ = ["Block", "Bounds", "Column", "Spool", "of_columns", "of_records"]
